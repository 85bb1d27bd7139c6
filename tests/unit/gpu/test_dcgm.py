"""The metrics of the DCGM exporter: a huge number is no value, and the Xid gauge is the last one and no count."""

from hypothesis import given
from hypothesis import strategies as st

from agent.gpu import dcgm

LABELS = 'gpu="0",UUID="GPU-a",pci_bus_id="00000000:3B:00.0",device="nvidia0",modelName="NVIDIA L40S",DCGM_FI_DRIVER_VERSION="580.105.08"'
PAGE = f"""# HELP DCGM_FI_DEV_GPU_TEMP GPU temperature (in C).
# TYPE DCGM_FI_DEV_GPU_TEMP gauge
DCGM_FI_DEV_GPU_TEMP{{{LABELS}}} 48
DCGM_FI_DEV_FB_USED{{{LABELS}}} 2000
DCGM_FI_DEV_FB_FREE{{{LABELS}}} 44068
DCGM_FI_DEV_ECC_DBE_VOL_TOTAL{{{LABELS}}} 2
DCGM_FI_DEV_ROW_REMAP_FAILURE{{{LABELS}}} 0
DCGM_FI_DEV_ROW_REMAP_PENDING{{{LABELS}}} 9223372036854775794
DCGM_FI_DEV_CLOCK_THROTTLE_REASONS{{{LABELS}}} 72
DCGM_FI_DEV_XID_ERRORS{{{LABELS},err_msg="GPU has fallen off the bus"}} 79 1796000460500
DCGM_FI_DEV_GPU_UTIL{{{LABELS.replace('gpu="0"', 'gpu="1"').replace("GPU-a", "GPU-b")}}} 2147483632
DCGM_FI_DEV_GPU_UTIL{{{LABELS},GPU_I_ID="7",GPU_I_PROFILE="1g.10gb"}} 99
DCGM_FI_PROF_DRAM_ACTIVE{{{LABELS}}} 0.4
"""


def test_a_page_becomes_cards() -> None:
    found = dcgm.parse(PAGE)
    first, second = found.gpus
    assert (first.uuid, first.bus, first.index, first.name, first.driver) == (
        "GPU-a",
        "0000:3b:00",
        0,
        "NVIDIA L40S",
        "580.105.08",
    )
    assert (first.temperature, first.memory_used, first.memory_total, first.ecc_uncorrected) == (48.0, 2000.0, 46068.0, 2)
    assert first.throttle == ("hw-slowdown", "hw-thermal-slowdown")
    assert (first.remap_failed, second.uuid) == (False, "GPU-b")


def test_what_is_not_supported_is_no_value() -> None:
    first, second = dcgm.parse(PAGE).gpus
    assert first.remap_pending is None
    assert second.utilization is None


def test_the_xid_gauge_is_the_last_number_of_each_card() -> None:
    assert dcgm.parse(PAGE).last_xid == {"GPU-a": 79}


def test_slices_of_a_card_are_not_cards() -> None:
    assert dcgm.parse(PAGE).gpus[0].utilization is None


def test_a_page_of_something_else_has_no_cards() -> None:
    assert dcgm.parse("<html>502</html>\nup 1\nDCGM_FI_DEV_GPU_TEMP 4\n").gpus == ()


@given(st.text(max_size=300))
def test_no_page_breaks_the_reader(text: str) -> None:
    dcgm.parse(text)
    dcgm.parse(f'DCGM_FI_DEV_GPU_TEMP{{UUID="{text}"}} {text}')
