"""What the agent and the guard say to each other arrives as it was meant."""

from dataclasses import replace

from agent.adapters import playbook_order
from agent.adapters.playbook_order import Busy, NotReached, Order
from agent.adapters.ssh_client import Hop, Way
from agent.adapters.target_keeper import Post

ORDER = Order(
    agent=1, playbook="/p.yml", private="/private", variables={"word": "x"}, timeout=3, lock="/lock", lock_wait=1, check=False
)
HOPS = (
    Hop(address="bastion", port=22, user="door", known_hosts="/k", key_file=None),
    Hop(address="10.0.0.1", port=2222, user="medic", known_hosts="/k", key_file="/id"),
)
POST = Post(
    way=Way(host="gpu-1", hops=HOPS, sudo=True, docker="unix:///d.sock"),
    folder="/f",
    lock="web",
    mark="I1-1/x",
    place="p",
    holder="h",
)


def test_an_order_comes_back_with_its_post_and_without() -> None:
    for order in (ORDER, replace(ORDER, post=POST)):
        assert playbook_order.read_order(playbook_order.write(order)) == order


def test_reports_that_nothing_was_started_come_back() -> None:
    for report in (Busy(message="run I1-1 is not gone"), NotReached(message="no way", transient=True)):
        assert playbook_order.read_report(playbook_order.write(report)) == report
