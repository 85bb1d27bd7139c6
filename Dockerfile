# Medic's own image. docker build -t medic:local .
# How to run it with few rights: docs/how-to/least-privilege.md
ARG BASE=python:3.11-slim-bookworm
FROM ${BASE} AS build
# For a network without a package index: --build-arg PIP="--no-index --find-links=/lock", with the packages in the folder wheels.
ARG PIP=""
# Medic's extras: --build-arg EXTRAS="ssh llm".
ARG EXTRAS=""
# The collections of Ansible that Medic's runbooks use, a tenth of what comes with it. Yours may need more.
ARG COLLECTIONS="community.docker community.general community.library_inventory_filtering_v1"
WORKDIR /lock
# The folder may be missing: a pattern that fits nothing is no error beside files that are there.
COPY requirements*.lock wheel[s] ./
# Nothing but what the locks pin, by hash. Compiled once the collections are gone: they are most of what there is to compile.
RUN python3 -m venv /opt/build && python3 -m venv --without-pip /opt/medic \
 && set -- --no-cache-dir --disable-pip-version-check --require-hashes ${PIP} \
 && /opt/build/bin/pip install --no-compile "$@" -r requirements-build.lock \
 && for extra in "" ${EXTRAS}; do set -- "$@" -r "requirements${extra:+-$extra}.lock"; done \
 && /opt/build/bin/pip --python /opt/medic/bin/python install --no-compile "$@" \
 && cd /opt/medic/lib/python3*/site-packages && mv ansible_collections /tmp/collections \
 && for name in ${COLLECTIONS}; do \
      mkdir -p "ansible_collections/${name%.*}" && mv "/tmp/collections/${name%.*}/${name#*.}" "ansible_collections/${name%.*}/" || exit 1; \
    done \
 && rm -rf /tmp/collections ansible_test && /opt/medic/bin/python -m compileall -q .
# Then Medic itself, made by the pinned builder.
WORKDIR /src
COPY . .
RUN /opt/build/bin/python -m hatchling build -t wheel -d /dist \
 && /opt/build/bin/pip --python /opt/medic/bin/python install --no-cache-dir --disable-pip-version-check --no-index --no-deps /dist/*.whl

FROM ${BASE}
# The command-line client only: playbooks call it, and it talks to the socket that MEDIC is given.
RUN command -v docker >/dev/null \
 || (apt-get update && (apt-get install -y --no-install-recommends docker-cli || apt-get install -y --no-install-recommends docker.io) \
     && rm -rf /var/lib/apt/lists/*)
# The folder of the door's socket is root's: so it stays the door's to write, whichever container is the first to mount it.
RUN groupadd --gid 10001 medic \
 && useradd --uid 10001 --gid 10001 --home-dir /var/lib/medic --no-create-home --shell /usr/sbin/nologin medic \
 && install -d -o medic -g medic -m 700 /var/lib/medic \
 && install -d -o root -g medic -m 750 /run/medic-docker \
 && install -d /etc/medic
COPY --from=build /opt/medic /opt/medic
ENV PATH=/opt/medic/bin:$PATH MEDIC_CONFIG=/etc/medic/medic.yaml MEDIC_STATE_DIR=/var/lib/medic HOME=/tmp
USER medic
STOPSIGNAL SIGTERM
ENTRYPOINT ["medic"]
CMD ["watch"]
