"""The configuration of a Dovecot that runs as whoever we are."""

import os
import pwd
from pathlib import Path

__all__ = ["dovecot_conf"]


def dovecot_conf(home: Path, certificate: Path, key: Path, *, tls: bool = True, **ports: int) -> str:
    """Give it.

    Parameters
    ----------
    home : Path
        Holds a folder ``run`` and the log.
    **ports : int
        Where ``imap`` and ``pop3`` listen on loopback; what is not named is not served.
    """
    own = pwd.getpwuid(os.geteuid()).pw_name
    services = "\n".join(
        f"""
        service {protocol}-login {{
          chroot =
          inet_listener {protocol} {{
            port = {port}
          }}
          inet_listener {protocol}s {{
            port = 0
          }}
        }}
        """
        for protocol, port in ports.items()
    )
    return f"""
        base_dir = {home}/run
        log_path = {home}/log
        protocols = {" ".join(ports)}
        listen = 127.0.0.1
        ssl = {"yes" if tls else "no"}
        ssl_cert = <{certificate}
        ssl_key = <{key}
        default_internal_user = {"dovecot" if own == "root" else own}
        default_login_user = {"dovenull" if own == "root" else own}
        passdb {{
          driver = static
          args = nopassword=y
        }}
        service anvil {{
          chroot =
        }}
        {services}
        """
