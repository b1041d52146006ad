"""Names of files that hold keys, tokens and passwords, which no job gets unless a person names them.

The list follows what secret scanners look for by name: gitleaks (its rules with a path), detect-secrets, GitHub's push
protection and gitrob's signatures, and where the tools that people train with keep their tokens.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache
from pathlib import PurePath

PRIVATE_KEYS = (
    "*.pem", "*.key", "*.p12", "*.p8", "*.pfx", "*.pkcs12", "*.ppk", "*.jks", "*.jceks", "*.bcfks", "*.keystore",
    "*.truststore", "*.keytab", "*.kdb", "*.kdbx", "*.psafe3", "*.agekey", "*.gpg", "*.pgp", "*.ovpn", "*.bek", "*.keychain",
    "*.keychain-db",
    "id_rsa*", "id_dsa*", "id_ecdsa*", "id_ed25519*", "id_xmss*", "*_rsa", "*_dsa", "*_ecdsa", "*_ed25519", "ssh_host_*_key",
    ".ssh/", ".gnupg/", "sops/age/keys.txt", "otr.private_key", "wallet.dat", "keyring", "*.kwallet",
)  # fmt: skip
"""Keys of SSH, TLS, PGP, Java and password managers."""
PASSWORDS = (
    ".unbraid/", ".env", ".env.*", ".envrc", "*.env", ".netrc", "_netrc", ".authinfo", ".git-credentials", ".gitcookies",
    ".pgpass", "pgpass.conf", ".my.cnf", ".mylogin.cnf", ".pg_service.conf", ".htpasswd", ".htdigest", "htpasswd", ".dbshell",
    "logins.json", "key3.db", "key4.db", "credentials", "credentials.*", ".credentials", "credential.*", "secrets.yaml",
    "secrets.yml", "secrets.json", "secrets.toml", "secrets.ini", "secrets.env", "secret.yaml", "secret.yml", "secret.json",
    "secret.toml", "*.secret", "*.secrets", "*.credentials", "passwords", "passwords.txt",
    "passwords.csv", "passwords.json", "passwords.y*ml", "password.txt", "passwd", "shadow", ".passwd",
    ".smbcredentials", "filezilla.xml", "recentservers.xml", "sitemanager.xml", ".ftpconfig", "sftp-config.json",
    ".remote-sync.json", "sftp.json", ".*_history", ".lesshst", ".fetchmailrc", ".msmtprc", ".muttrc", ".esmtprc", "*.psk",
    "wpa_supplicant.conf", "master.key", "secret_token.rb", "local_settings.py", "*.rdp", "robomongo.json", "token",
    "*_token", "*.token", "token.json", "tokens.json", "token.txt", "*_token.txt", "*_token.json", "api_key", "api_keys",
    "apikey", "apikeys", "*_api_key", "api_key.txt", "api_keys.txt", "api_key.json", "api_keys.json", "apikey.txt",
    "apikey.json",
)  # fmt: skip
"""Passwords, tokens and histories of shells and databases."""
CLOUDS = (
    ".aws/", ".s3cfg", "s3.json", ".boto", ".passwd-s3fs", "passwd-s3fs", "rclone.conf", ".mc/config.json", ".azure/",
    "azureprofile.json", "accesstokens.json", "msal_token_cache.*", "service_principal_entries.*", "*.publishsettings",
    "*.azureauth", "local.settings.json", ".gcloud/", "gcloud/", "application_default_credentials.json",
    "*service-account*.json", "*service_account*.json", "*serviceaccount*.json", "gha-creds-*.json",
    "client_secret*.json", "client-secret*.json",
    "*-firebase-adminsdk-*.json", "gcp-key*.json", "gcp_key*.json", "gcs-key*.json", ".oci/", ".bluemix/", ".ibmcloud/",
    ".aliyun/", ".alibabacloud/", "doctl/config.yaml", ".tugboat", ".fly/config.yml", "heroku.json", ".linode-cli",
    ".lambda_cloud/", ".runpod/", "accesskeys.csv", "*_accesskeys.csv", "rootkey.csv", ".databrickscfg", ".snowsql/",
    ".dbt/profiles.yml",
)  # fmt: skip
"""Amazon, Azure, Google, Oracle, object stores and the rest."""
REGISTRIES = (
    ".npmrc", ".yarnrc", ".yarnrc.yml", ".pypirc", "pip.conf", "pip.ini", "pypoetry/auth.toml", ".condarc", ".mambarc",
    "auth.json", "nuget.config", ".gem/credentials", ".bundle/config", ".cargo/credentials*", ".m2/settings.xml",
    "settings-security.xml", ".gradle/gradle.properties", "composer/auth.json", ".config/gh/hosts.yml", "gh/hosts.yml",
    ".config/hub", "glab-cli/config.yml", ".dockercfg", ".docker/config.json", ".dockerconfigjson", "*.dockerconfigjson",
    "containers/auth.json",
)  # fmt: skip
"""Package registries, forges, and registries of images."""
CLUSTERS = (
    ".kube/", "kubeconfig", "kubeconfig*", "*.kubeconfig", "kube_config*", "kube.config", "admin.conf", ".vault-token",
    "vault-token", ".vault_pass*", "vault_pass*", "vault-password*", ".vault-password*", "*.tfstate", "*.tfstate.*",
    "*.tfvars", "*.tfvars.json", ".terraformrc", "terraform.rc", "credentials.tfrc.json", ".pulumi/credentials.json",
    ".chef/*.pem", "knife.rb", "talosconfig", ".consul-token",
)  # fmt: skip
"""Kubernetes, Vault, Terraform and the like."""
TRAINING = (
    "huggingface/token", "huggingface/stored_tokens", ".huggingface/", "stored_tokens", "kaggle.json", ".kaggle/",
    "wandb/settings", ".comet.config", "clearml.conf", "trains.conf", ".mlflow/credentials", ".neptune/",
    ".streamlit/secrets.toml", ".dvc/config.local", ".openai", ".anthropic", ".lightning/credentials.json", ".modal.toml",
    ".replicate", ".roboflow",
)  # fmt: skip
"""Services that people train with."""
KEY_FILES = (*PRIVATE_KEYS, *PASSWORDS, *CLOUDS, *REGISTRIES, *CLUSTERS, *TRAINING)
"""Patterns in lower case: of a file's name; with a slash, of the end of its path; with a slash at the end, of a folder."""
_BEGINNINGS = (b"-----BEGIN ", b"PuTTY-User-Key-File-")


def may_hold_keys(name: PurePath) -> bool:
    """Tell by its name and folders, in any case of letters, whether a file may hold keys."""
    return matches(name, KEY_FILES)


def is_private_key(beginning: bytes) -> bool:
    """Tell by the first bytes of a file whether it is a private key, whatever it is called."""
    first = beginning.split(b"\n", 1)[0]
    return beginning.startswith(_BEGINNINGS[1]) or (first.startswith(_BEGINNINGS[0]) and b"PRIVATE KEY" in first)


def matches(name: PurePath, patterns: Iterable[str]) -> bool:
    """Tell whether a path matches one of some patterns, in any case of letters.

    Args:
        patterns: of a file's name, such as ``*.key``; with a slash of the end of a path, ``.docker/config.json``; with a slash
            at the end of a folder anywhere in it, ``.ssh/``. ``*`` and ``?`` stand for letters other than slashes.
    """
    return _compiled(tuple(patterns)).fullmatch(name.as_posix().lower()) is not None


@lru_cache
def _compiled(patterns: tuple[str, ...]) -> re.Pattern[str]:
    wild = {"*": "[^/]*", "?": "[^/]"}
    found = ["".join(wild.get(letter) or re.escape(letter) for letter in pattern.lower()) for pattern in patterns]
    ends = "|".join(f"{pattern}.*" if pattern.endswith("/") else pattern for pattern in found)
    return re.compile(f"(?:.*/)?(?:{ends})" if found else "(?!)", re.DOTALL)
