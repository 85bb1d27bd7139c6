"""The classes of cause: a closed list."""

import enum


class Cause(enum.Enum):
    """The classes of cause an operator would act on, plus INCONCLUSIVE. Source: docs/causes.md."""

    GPU_OUT_OF_MEMORY = "gpu_out_of_memory"
    HOST_OUT_OF_MEMORY = "host_out_of_memory"
    GPU_RUNTIME_UNAVAILABLE = "gpu_runtime_unavailable"
    GPU_HARDWARE_FAULT = "gpu_hardware_fault"
    DISTRIBUTED_COMM_FAILURE = "distributed_comm_failure"
    DISK_FULL = "disk_full"
    PERMISSION_DENIED = "permission_denied"
    MISSING_FILE_OR_MOUNT = "missing_file_or_mount"
    BAD_CONFIGURATION = "bad_configuration"
    AUTH_FAILURE = "auth_failure"
    PORT_CONFLICT = "port_conflict"
    DEPENDENCY_UNREACHABLE = "dependency_unreachable"
    DNS_RESOLUTION_FAILURE = "dns_resolution_failure"
    TLS_CERTIFICATE_ERROR = "tls_certificate_error"
    IMAGE_PLATFORM_MISMATCH = "image_platform_mismatch"
    MODEL_ARTIFACT_INVALID = "model_artifact_invalid"
    VERSION_INCOMPATIBILITY = "version_incompatibility"
    RESOURCE_LIMIT = "resource_limit"
    HANG_OR_TIMEOUT = "hang_or_timeout"
    APPLICATION_BUG = "application_bug"
    ROUTING_MISCONFIGURATION = "routing_misconfiguration"
    DATA_CORRUPTION = "data_corruption"
    RATE_LIMIT_OR_QUOTA = "rate_limit_or_quota"
    BENIGN_NOISE = "benign_noise"
    INCONCLUSIVE = "inconclusive"
