"""What is asked of the GPUs of a host, and what is seen of them. Observed, not judged: `agent/checks/gpu.py` does that."""

import enum
from dataclasses import dataclass
from datetime import datetime, timedelta

from agent.model.health import HostName


class GpuTool(enum.Enum):
    """How nvidia-smi ended. Everything but ANSWERED, NO_DEVICES and what names a fault says only that nobody could look."""

    ANSWERED = "answered"
    NO_DEVICES = "no-devices"
    """It answered: there is no GPU."""
    NO_DRIVER = "no-driver"
    """The driver is not loaded, or does not talk to it."""
    NO_LIBRARY = "no-library"
    """NVML, which it stands on, is not installed or cannot be loaded."""
    MISMATCH = "mismatch"
    """The loaded driver and the installed library are of two versions."""
    LOST = "lost"
    """The driver has lost a GPU: it fell off the bus, or cannot be opened any more."""
    DETACHED = "detached"
    """NVML cannot be set up and says no more: in a container, that its GPUs were taken from it."""
    REFUSED = "refused"
    """It may not look: no permission, or an argument it does not know."""
    ABSENT = "absent"
    HANGS = "hangs"
    FAILED = "failed"
    """It ended in a way that says nothing: killed, died in the middle, an unknown code."""


class XidAction(enum.Enum):
    """What NVIDIA says to do at once. Source: the file agent/gpu/xids.yaml, which names its own."""

    IGNORE = "ignore"
    RESTART_APP = "restart-app"
    RESET = "reset-gpu"
    REBOOT = "reboot"
    """RESTART_BM and RESTART_VM: the machine, real or virtual."""
    SUPPORT = "contact-support"
    """Nothing that a program may do: a person reads on, or asks the vendor."""
    UNKNOWN = "unknown"
    """The catalogue does not have it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GpuRequest:
    """The GPUs of one host: nvidia-smi, who holds their memory, the driver, and Xid lines of the kernel log."""

    host: HostName
    timeout: timedelta
    """Of everything together."""
    tool: str = "nvidia-smi"
    """Name or absolute path."""
    kernel_log: str | None = None
    """A file that the kernel log goes to; None: ask the kernel, then journald."""
    fabric_manager: bool = False
    """Ask systemd for the state of nvidia-fabricmanager."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Gpu:
    """One card as nvidia-smi or DCGM tells. None: it does not say, which is never zero."""

    index: int | None
    uuid: str
    name: str = ""
    bus: str = ""
    """PCI address in lower case, as the kernel writes it: `0000:3b:00`."""
    driver: str | None = None
    temperature: float | None = None
    """Degrees Celsius, of the chip."""
    utilization: float | None = None
    """Percent."""
    memory_total: float | None = None
    """MiB."""
    memory_used: float | None = None
    """MiB."""
    ecc_uncorrected: int | None = None
    """Since the driver was loaded."""
    remap_pending: bool | None = None
    remap_failed: bool | None = None
    throttle: tuple[str, ...] | None = None
    """Why its clocks are lower than they could be, as words of `agent/gpu/smi.py`; empty: they are not."""
    mig: bool | None = None
    recovery: XidAction | None = None
    """What the driver itself asks for (`gpu_recovery_action`)."""
    fabric: str | None = None
    """State of its NVLink fabric: `completed`, `in progress`, `not started`; None on cards without one."""
    lost: str | None = None
    """The words by which nvidia-smi says that this card does not answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GpuHolder:
    """One process that holds memory of a GPU."""

    uuid: str
    pid: int
    name: str
    memory: float | None = None
    """MiB; None where the driver does not say (MIG, WSL)."""
    container: str | None = None
    """Id of the container it runs in; None: of none, or nobody knows."""
    alive: bool | None = None
    """Whether there is such a process; None: nobody looked."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Xid:
    """One Xid line of the kernel log, with what NVIDIA says of it."""

    number: int
    bus: str
    """As in `Gpu.bus`."""
    text: str
    """What stands behind the number, cut."""
    action: XidAction
    meaning: str
    """In NVIDIA's words; empty where the catalogue does not have it."""
    at: datetime | None = None
    pid: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class GpuSeen:
    """All that one look at the GPUs of a host gave."""

    tool: GpuTool
    said: str = ""
    """Why the tool did not answer, in its own words."""
    gpus: tuple[Gpu, ...] = ()
    whole: bool = True
    """False: some of the answer could not be read, so that what is not there is not known to be missing."""
    holders: tuple[GpuHolder, ...] | None = None
    """None: nobody could say."""
    driver_loaded: bool | None = None
    driver_devices: int | None = None
    """Cards that the loaded driver knows, fallen or not; None: nobody could say."""
    xids: tuple[Xid, ...] | None = None
    """In the order of the log; None: it could not be read."""
    fabric_manager: str | None = None
    """systemd's word: `active`, `inactive`, `failed`; None: not asked, or no answer."""
    at: datetime | None = None
    """When it was looked."""
    gaps: tuple[str, ...] = ()
    """What could not be looked at, one sentence each."""
