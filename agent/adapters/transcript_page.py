"""The dialogues of one incident as one self-contained HTML page: no script, no font, no request to anywhere.

Text from logs, containers and models is only ever a value in the template, escaped; everything is redacted once more.
"""

from collections.abc import Callable, Mapping, Sequence

import jinja2

from agent import redact
from agent.adapters import transcript_view
from agent.errors import OutsideError
from agent.model import Incident, StoryEvent, TranscriptEntry


def render(
    incident: Incident,
    dialogues: Mapping[int, Sequence[TranscriptEntry]],
    story: Sequence[StoryEvent],
    redactor: Callable[[str], str],
) -> str:
    """Return the page. dialogues: the entries of each attempt's asking. Raises OutsideError when the template does not render."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("agent", "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    clean = {number: [redact.within(entry, redactor) for entry in entries] for number, entries in dialogues.items()}
    page = transcript_view.make(redact.within(incident, redactor), clean, [redact.within(each, redactor) for each in story])
    try:
        return environment.get_template("dialogue.html.j2").render(v=page)
    except jinja2.TemplateError as exc:
        raise OutsideError(f"cannot render the dialogues of {incident.id}: {exc}", transient=False) from exc
