"""An agent with nothing but a playbook to run: `python -m tests.live.lone_agent ANSIBLE STATE_DIR RUN_ID PLAYBOOK PARAMETERS`.

For tests that end a whole agent, by SIGTERM or SIGKILL, and look at what is left.
"""

import json
import sys
from pathlib import Path

from agent.adapters.ansible_playbooks import AnsiblePlaybooks
from tests.live.plans import plan


def main() -> None:
    ansible, state_dir, run_id, playbook, parameters = sys.argv[1:]
    playbooks = AnsiblePlaybooks(ansible=Path(ansible), state_dir=Path(state_dir), redact=lambda text: text)
    playbooks.run(plan(playbook, json.loads(parameters)), run_id=run_id, check=False, on_task=print, should_stop=lambda: None)


if __name__ == "__main__":
    main()
