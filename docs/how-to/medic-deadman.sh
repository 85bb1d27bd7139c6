#!/bin/sh
# Says so when Medic's beats stop. Needs nothing of Medic's: sh, date, and curl where a webhook is told.
# Run it every minute, by medic-deadman.timer or cron. How to use it: docs/how-to/when-medic-is-sick.md
#
#   MEDIC_BEAT      the beat file                                      default /var/lib/medic/beat
#   MEDIC_INTERVAL  whole seconds between two beats (`interval`)       default 5
#   MEDIC_MISSED    so many missing beats in a row are too many        default 12
#   MEDIC_TELL      a command that gets the sentence as its argument, or an http(s) URL that gets it as JSON
# Exit: 0 beating (or told already), 1 too many are missing and somebody was told, 3 nobody could be told.
set -u
beat=${MEDIC_BEAT:-/var/lib/medic/beat}
most=$((${MEDIC_INTERVAL:-5} * ${MEDIC_MISSED:-12}))
told=${MEDIC_TOLD:-$beat.deadman}

if at=$(date -r "$beat" +%s 2>/dev/null); then
    age=$(($(date +%s) - at))
    # A clock that was set back makes the beat look as if it were to come: too far ahead is as silent as too old.
    [ "$age" -lt 0 ] && age=$((-age))
    [ "$age" -le "$most" ] && { rm -f "$told"; exit 0; }
    why="the last beat was $age s ago (at most $most s are right)"
else
    why="there is no beat file $beat"
fi
[ -e "$told" ] && exit 0
say="Medic on $(uname -n) is silent: $why. Nothing is healed meanwhile."
echo "$say" >&2
case ${MEDIC_TELL:-} in
'') echo "MEDIC_TELL is not set: nobody was told" >&2; exit 3 ;;
http://* | https://*)
    json=$(printf '%s' "$say" | sed 's/[\\"]/\\&/g')
    curl -fsS -m 10 -H 'Content-Type: application/json' --data "{\"text\":\"$json\"}" "$MEDIC_TELL" >/dev/null || exit 3 ;;
*) "$MEDIC_TELL" "$say" || exit 3 ;;
esac
: >"$told" 2>/dev/null # told once per silence; where this cannot be written (a full disk), every run tells
exit 1
