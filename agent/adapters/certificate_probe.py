"""The probe of certificate files: until when they are good, and who may read the key. Observes, does not judge.

Only plain files, and only their head is read. Of a private key nothing but its permissions is looked at.
"""

from cryptography import x509

from agent.adapters.machine import Machine, MachineOf
from agent.adapters.system_clock import SystemClock
from agent.errors import OutsideError
from agent.model import Blind, CertificateRequest, CertificateSeen

LIMIT = 1_048_576
"""Bytes read of one file. A chain of certificates has some thousand."""


def probe(request: CertificateRequest, machine_of: MachineOf) -> CertificateSeen | Blind:
    """Return what the files hold, or why they cannot be read. A file that is not there is an observation."""
    try:
        machine = machine_of(request.host)
        content = machine.read(request.path, limit=LIMIT)
        if content is None:
            return CertificateSeen(left=None, key_mode=None, error="it is not there")
        key = request.path if request.key is None and b"PRIVATE KEY-----" in content else request.key
        mode = None if key is None else _mode(machine, key)
    except FileNotFoundError:
        return CertificateSeen(left=None, key_mode=None, error=f"its key {request.key} is not there")
    except OutsideError as exc:
        return Blind(why=str(exc))
    try:
        chain = x509.load_pem_x509_certificates(content)
    except ValueError:
        return CertificateSeen(left=None, key_mode=mode, error="it holds no certificate that can be read")
    ends = min(certificate.not_valid_after_utc for certificate in chain)
    return CertificateSeen(left=ends - SystemClock().now(), key_mode=mode)


def _mode(machine: Machine, path: str) -> int:
    found = machine.facts(path)
    if found is None:
        raise FileNotFoundError
    return found.mode
