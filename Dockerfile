# Medic's own image. docker build -t medic:local .
# How to run it with few rights: docs/how-to/least-privilege.md
ARG BASE=python:3.11-slim-bookworm
FROM ${BASE} AS build
# For a network without a package index: --build-arg PIP="--no-index --find-links=/src/wheels", with the wheels in the folder.
ARG PIP=""
WORKDIR /src
COPY . .
# Nothing but what the lock pins, by hash; then Medic itself, built by the pinned builder.
RUN python3 -m venv /opt/medic \
 && /opt/medic/bin/pip install --no-cache-dir --disable-pip-version-check ${PIP} --require-hashes -r requirements.lock \
 && python3 -m venv /opt/build \
 && /opt/build/bin/pip install --no-cache-dir --disable-pip-version-check ${PIP} --require-hashes -r requirements-build.lock \
 && /opt/build/bin/python -m hatchling build -t wheel -d /dist \
 && /opt/medic/bin/pip install --no-cache-dir --disable-pip-version-check --no-index --no-deps /dist/*.whl

FROM ${BASE}
# The command-line client only: playbooks call it, and it talks to the socket that MEDIC is given.
RUN command -v docker >/dev/null \
 || (apt-get update && (apt-get install -y --no-install-recommends docker-cli || apt-get install -y --no-install-recommends docker.io) \
     && rm -rf /var/lib/apt/lists/*)
COPY --from=build /opt/medic /opt/medic
RUN groupadd --gid 10001 medic \
 && useradd --uid 10001 --gid 10001 --home-dir /var/lib/medic --no-create-home --shell /usr/sbin/nologin medic \
 && install -d -o medic -g medic -m 700 /var/lib/medic \
 && install -d -o medic -g medic -m 750 /run/medic-docker \
 && install -d /etc/medic
ENV PATH=/opt/medic/bin:$PATH MEDIC_CONFIG=/etc/medic/medic.yaml MEDIC_STATE_DIR=/var/lib/medic HOME=/tmp
USER medic
STOPSIGNAL SIGTERM
ENTRYPOINT ["medic"]
CMD ["watch"]
