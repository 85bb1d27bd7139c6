"""Keeps one run to itself on a host reached over SSH: its lock there, and the end of everything it started, whoever dies.

In: the way to the host and the name of the run. Out: the lock is held, or why not. A small shell script, the keeper, runs on the
target for as long as the run does. It takes the lock (a folder: making one is atomic), hears a beat every second or two, and at
the word `done`, at the end of the connection, after too long a silence, or at its own bound it kills what is left of the run
and gives the lock back. So nobody on this side has to live for the target to be clean. Standard library only.
"""

import contextlib
import shlex
import subprocess
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from agent.adapters import ssh_client
from agent.adapters.ssh_client import Way

MARK = "MEDIC_RUN_THERE"
"""Environment variable that every process of a run carries on the target. Not the one of the processes here: the two may be
one machine, and neither side may end the other's."""
BEAT = 2.0
"""Seconds between two beats to the keeper."""
SILENCE = 15
"""Seconds without a beat after which the keeper takes the run for cut. More than what ssh itself needs to notice (12 s)."""
REACH = 20.0
"""Seconds for the connection and the keeper's first word, beyond what it waits for the lock."""
PARTING = 6.0
"""Seconds for the keeper's sweep at the end: SIGKILL takes milliseconds, the look for what is left half a second."""
WAIT = 0.02
"""Seconds between two looks for its first word."""
COMPLAINT_LIMIT = 8_000
"""Bytes kept of what ssh complains."""
SAYS = "medic: "
"""How each line of the keeper begins."""
PYTHON = "/usr/bin/python3"
"""Where modules look for Python on a target; a shim of pyenv's cannot run them."""
MARKERS_KEPT = 90
"""Days that markers stay on the target."""

_PLACES = r"""
umask 077
if [ "$(id -u)" = 0 ]; then base=/var/lib/medic; else base=${XDG_STATE_HOME:-$HOME/.local/state}/medic; fi
base=${MEDIC_STATE_DIR:-$base}/target
"""
"""Where locks and markers lie on a target. Below the state folder, not in it: the target may run a Medic of its own."""

_KEEPER = (
    _PLACES
    + r"""
lock=$base/locks/$1 mark=$2 place=$3 wait=$4 bound=$5 silence=$6 temporary=$7 holder=$8 days=$9
trap '' HUP PIPE
say() { echo "medic: $*"; }
uptime() { read -r up _ < /proc/uptime; echo "${up%%.*}"; }
boot=$(cat /proc/sys/kernel/random/boot_id)
# Every process of a run carries its mark in its environment, and hands it down.
marked() { grep -lsF "MEDIC_RUN_THERE=$1" /proc/[0-9]*/environ | cut -d/ -f3; }
what() { for pid in $(marked "$1"); do tr '\0' ' ' < "/proc/$pid/cmdline" 2>/dev/null | cut -c1-80; return; done; }
mkdir -p "$base/locks" "$base/markers/$place" || { say "wrong cannot make $base there"; exit 0; }
timeout 5 find "$base/markers/$place" -mindepth 1 -maxdepth 1 -mtime "+$days" -exec rm -rf {} + 2>/dev/null
lives() {
    # A folder without its words was made a moment ago, or its maker died in that moment.
    [ -f "$lock/who" ] || { [ -n "$(find "$lock" -maxdepth 0 -mmin -1 2>/dev/null)" ]; return; }
    { read -r its_mark; read -r its_boot; read -r its_keeper; read -r its_holder; } < "$lock/who" 2>/dev/null
    [ "$its_boot" = "$boot" ] || return 1
    grep -qsF "$its_mark" "/proc/$its_keeper/cmdline" || [ -n "$(marked "$its_mark")" ]
}
take() (
    # One at a time may judge a lock that somebody left; without flock, two in the same millisecond could both take it over.
    if command -v flock >/dev/null; then exec 9> "$base/locks/.door"; flock -w 5 9; fi
    if [ -d "$lock" ] && ! lives; then rm -rf "$lock"; fi
    mkdir "$lock" || exit 1
    # On a full disk the folder can be made and the words in it cannot: then it is nobody's lock, and goes again. By `cat`, which
    # says what the trouble is; a shell's own printf says "I/O error".
    if printf '%s\n' "$mark" "$boot" "$keeper" "$holder" | cat > "$lock/.who" && mv "$lock/.who" "$lock/who"; then exit 0; fi
    rm -rf "$lock"
    exit 1
)
keeper=$$ start=$(uptime)
until wrong=$(take 2>&1); do
    if [ $(($(uptime) - start)) -ge "$wait" ]; then
        lives || { say "wrong cannot make $lock there: $wrong"; exit 0; }
        say "busy run ${its_mark%%/*} of ${its_holder:-somebody} is not gone there yet$(w=$(what "$its_mark"); [ -z "$w" ] || echo " ($w)")"
        exit 0
    fi
    sleep 0.3
done
python=/usr/bin/python3
[ -x "$python" ] || python=$(command -v python3) || python=none
say "ready	$base/markers/$place	$python"
end=$(($(uptime) + bound)) word=lost
while beat=$(timeout "$silence" dd bs=1 count=1 2>/dev/null); do
    case $beat in
        .) [ "$(uptime)" -lt "$end" ] || { word=late; break; } ;;
        d) word=done; break ;;
        *) break ;;
    esac
done
swept=0 tries=0
while left=$(marked "$mark") && [ -n "$left" ] && [ $tries -lt 20 ]; do
    [ $tries -gt 0 ] || swept=$(echo "$left" | wc -l)
    kill -9 $left 2>/dev/null
    tries=$((tries + 1))
    sleep 0.1
done
[ -n "$left" ] || rm -rf "$lock"
rm -rf "$temporary"
say "ended	$word	$swept	$(echo $left | wc -w)"
"""
)

_MARKER = (
    _PLACES
    + r"""
marker=$base/markers/$1/$2 lock=$base/locks/$3 wait=$4
# While its keeper holds the lock, what was cut here may still go on there.
while [ "$wait" -gt 0 ] && grep -qsF "$2/" "$lock/who"; do sleep 1; wait=$((wait - 1)); done
if [ -d "$marker/finished" ]; then echo finished; elif [ -d "$marker/started" ]; then echo started; else echo none; fi
"""
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Post:
    """What the keeper of one run is to hold."""

    way: Way
    folder: str
    """A private folder here, with a short path: ssh's configuration and socket."""
    lock: str
    """The name of the lock on the target, safe as a file name."""
    mark: str
    """`run id/random`: no other run has it."""
    place: str
    """Names the state folder of the Medic that runs this: markers of two Medics must not be mistaken for one another."""
    holder: str
    """Who that is, for the sentence of the one who finds the lock taken."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """The lock is ours."""

    markers: str
    """The folder for markers on the target."""
    python: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class NotHeld:
    """Why nothing can be run there now. busy: an earlier run is not gone yet."""

    message: str
    transient: bool
    busy: bool = False


_SSH = r"""#!/bin/sh
# Called by Ansible in place of ssh. Whatever it runs on the target carries the run's mark and speaks to the host's own engine, as
# root where it is to be: there is no other place that reaches every module and every raw command alike.
before={before}
all=$# at=0 last=
for word do
    shift
    at=$((at + 1))
    if [ "$at" -eq "$all" ] && [ "$last" = {target} ]; then
        word="$before /bin/sh -c '$(printf '%s' "$word" | sed "s/'/'\\\\''/g")'"
    fi
    set -- "$@" "$word"
    last=$word
done
exec ssh "$@"
"""


def write_ssh(post: Post) -> str:
    """Write what Ansible calls in place of ssh into the post's folder, and return its path."""
    environment = (f"{MARK}={post.mark}", f"DOCKER_HOST={post.way.docker}")
    before = shlex.join((*ssh_client.becoming(post.way), "/usr/bin/env", *environment))
    script = Path(post.folder) / "ssh"
    script.write_text(_SSH.replace("{before}", shlex.quote(before)).replace("{target}", ssh_client.TARGET), encoding="utf-8")
    script.chmod(0o700)
    return str(script)


def finished(way: Way, place: str, run_id: str, lock: str, *, wait: int = SILENCE + 3) -> bool | None:
    """Read a run's marker on the target: True it finished, False it started and did not, None it never started.

    wait: seconds for a keeper that still holds its lock: by then it has heard nothing for too long, and has swept.
    Raises OutsideError when the target cannot be asked.
    """
    word = ssh_client.ask(way, _MARKER, place, run_id, lock, str(wait), within=wait + REACH).strip().rsplit("\n", 1)[-1]
    return {"finished": True, "started": False}.get(word)


def temporary(mark: str) -> str:
    """Return the folder on the target in which modules unpack themselves; the keeper removes it."""
    return f"/tmp/medic-{mark.rsplit('/', 1)[-1]}"  # noqa: S108 -- the mark is random, and Ansible makes the folder with mode 0700


class Keeper:
    """The near end of one keeper. Ends with its process; the far end ends by itself whatever happens here."""

    def __init__(self, post: Post, *, wait: float, bound: float) -> None:
        """Start it. wait: seconds it waits for the lock. bound: seconds after which it ends the run whatever it hears."""
        self._way = post.way
        self._within = REACH + wait
        words = (post.lock, post.mark, post.place, f"{wait:.0f}", f"{bound:.0f}", str(SILENCE), temporary(post.mark))
        self._process = subprocess.Popen(  # noqa: S603 -- as in ssh_client.ask
            ssh_client.command(
                ssh_client.write_config(post.way, Path(post.folder)),
                *("sh", "-c", _KEEPER, "medic-keeper", *words, post.holder, str(MARKERS_KEPT)),
                way=post.way,
                # Ansible's own connections share this one: one key exchange a run, and when it is lost, all is.
                options=("-o", "ControlMaster=yes"),
            ),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        self._words: list[list[str]] = []
        self._complaint = b""
        self._over = threading.Event()
        threading.Thread(target=self._hear, daemon=True).start()
        self._complaints = threading.Thread(target=self._hear_complaints, daemon=True)
        self._complaints.start()

    @property
    def pid(self) -> int:
        """Return the process that holds the connection."""
        return self._process.pid

    def held(self, told_to_stop: Callable[[], bool]) -> Held | NotHeld | None:
        """Wait for the keeper's first word, and keep the beat from then on. None where we were told to stop before."""
        end = time.monotonic() + self._within
        while not (self._words or self._over.is_set() or told_to_stop() or time.monotonic() >= end):
            time.sleep(WAIT)  # noqa: TID251 -- used by the guard only, which has no port and no test clock
        if not self._words:
            if told_to_stop():
                return None
            if not self._over.is_set():
                return NotHeld(message=f"cannot reach host {self._way.host!r}: its first word took too long", transient=True)
            message, transient = self.complaint()
            return NotHeld(message=message, transient=transient)
        match self._words[0]:
            case ["ready", markers, python]:
                threading.Thread(target=self._beat, daemon=True).start()
                return Held(markers=markers, python=None if python == "none" else python)
            case [sentence] if sentence.startswith("busy "):
                message = f"cannot start on host {self._way.host!r}: {sentence.removeprefix('busy ')}"
                return NotHeld(message=message, transient=True, busy=True)
            case words:
                said = " ".join(words).removeprefix("wrong ")
                return NotHeld(message=f"cannot start on host {self._way.host!r}: {said}", transient=False)

    def is_lost(self) -> bool:
        """Say whether the connection has ended although nobody asked it to."""
        return self._over.is_set()

    def complaint(self) -> tuple[str, bool]:
        """Return why the connection ended, as a sentence, and whether that may pass by itself."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(PARTING)
        self._complaints.join(1)
        code = self._process.poll()
        return ssh_client.trouble(self._way, self._complaint.decode("utf-8", "replace"), 255 if code is None else code)

    def part(self) -> tuple[int, int] | None:
        """Let the far end sweep and give the lock back; return how many it killed and how many would not die.

        None where it did not say: it goes on by itself there, and its lock keeps the next run out meanwhile.
        """
        self._write(b"d")
        self._over.wait(PARTING)
        # A connection that is shared stays open for whoever shares it; by now the playbook is over or about to be swept.
        self._process.kill()
        self._process.wait()
        match self._words[-1:]:
            case [["ended", _, swept, left]]:
                return int(swept), int(left)
            case _:
                return None

    def _beat(self) -> None:
        while not self._over.wait(BEAT):
            self._write(b".")

    def _write(self, word: bytes) -> None:
        assert self._process.stdin is not None  # noqa: S101 -- opened with PIPE, which the type cannot say
        with contextlib.suppress(OSError):  # its end is noticed where it is read
            self._process.stdin.write(word)
            self._process.stdin.flush()

    def _hear(self) -> None:
        assert self._process.stdout is not None  # noqa: S101 -- as above
        for line in self._process.stdout:
            text = line.decode("utf-8", "replace").rstrip("\r\n")
            if text.startswith(SAYS):  # a login shell may print what it likes
                self._words.append(text.removeprefix(SAYS).split("\t"))
                if self._words[-1][0] == "ended":
                    break
        self._over.set()

    def _hear_complaints(self) -> None:
        assert self._process.stderr is not None  # noqa: S101 -- as above
        for line in self._process.stderr:
            self._complaint = (self._complaint + line)[-COMPLAINT_LIMIT:]
