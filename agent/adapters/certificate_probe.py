"""The probe of certificate files: until when they are good, and who may read the key. Observes, does not judge.

Only plain files, and only their head is read. Of a private key nothing but its permissions is looked at.
"""

import os
import stat

from cryptography import x509

from agent.adapters.system_clock import SystemClock
from agent.model import Blind, CertificateRequest, CertificateSeen

LIMIT = 1_048_576
"""Bytes read of one file. A chain of certificates has some thousand."""


def probe(request: CertificateRequest) -> CertificateSeen | Blind:
    """Return what the files hold, or why they cannot be read. A file that is not there is an observation."""
    try:
        content, mode = _read(request.path)
        if request.key is not None:
            mode = stat.S_IMODE(os.stat(request.key).st_mode)  # noqa: PTH116 (a text, no Path)
    except FileNotFoundError as exc:
        error = "it is not there" if exc.filename == request.path else f"its key {exc.filename} is not there"
        return CertificateSeen(left=None, key_mode=None, error=error)
    except OSError as exc:
        return Blind(why=f"cannot read {request.path}: {exc.strerror or exc}")
    if request.key is None and b"PRIVATE KEY-----" not in content:
        mode = None
    try:
        chain = x509.load_pem_x509_certificates(content)
    except ValueError:
        return CertificateSeen(left=None, key_mode=mode, error="it holds no certificate that can be read")
    ends = min(certificate.not_valid_after_utc for certificate in chain)
    return CertificateSeen(left=ends - SystemClock().now(), key_mode=mode)


def _read(path: str) -> tuple[bytes, int | None]:
    # Without O_NONBLOCK, opening a pipe waits for its writer.
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
    try:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            raise OSError(f"{path} is not a plain file")
        return os.read(descriptor, LIMIT), stat.S_IMODE(found.st_mode)
    finally:
        os.close(descriptor)
