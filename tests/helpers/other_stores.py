"""Stand-ins for Google Cloud Storage and Azure Blob Storage, each a process of its own.

Azure's is Microsoft's Azurite, of the npm registry; tests that need it are skipped where it is not
installed.
"""

import shutil
import sys
import uuid

import pytest
from object_store import Proxy, free_port, running

# Of every Azurite, as its documentation has them.
_AZURE_ACCOUNT = "devstoreaccount1"
_AZURE_KEY = (
    "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
)
# What no message may show.
SECRETS = {"gs": "a-token-of-the-tests-0123456789", "az": _AZURE_KEY}


class OtherStore:
    """A bucket with nothing in it, behind a proxy that fails on demand.

    Attributes:
        scheme: `gs` or `az`.
        url: Address of the bucket.
        proxy: Between what is tested and the server.
    """

    def __init__(self, scheme, server, monkeypatch):
        import fsspec

        self.scheme, self.proxy = scheme, Proxy(server)
        bucket = f"test-{uuid.uuid4().hex[:12]}"
        self.url = f"{scheme}://{bucket}"
        if scheme == "gs":
            monkeypatch.setenv("STORAGE_EMULATOR_HOST", self.proxy.url)
            monkeypatch.setenv("GOOGLE_OAUTH_TOKEN", SECRETS["gs"])
            # Asking what kind of bucket it is needs credentials, which an emulator has not.
            monkeypatch.setenv("GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT", "false")
        else:
            told = {
                "DefaultEndpointsProtocol": "http",
                "AccountName": _AZURE_ACCOUNT,
                "AccountKey": _AZURE_KEY,
                "BlobEndpoint": f"{self.proxy.url}/{_AZURE_ACCOUNT}",
            }
            text = ";".join(f"{name}={value}" for name, value in told.items())
            monkeypatch.setenv("AZURE_STORAGE_CONNECTION_STRING", text)
        fsspec.get_filesystem_class(scheme).clear_instance_cache()
        fsspec.filesystem(scheme).mkdir(bucket)


@pytest.fixture(scope="session")
def google_server():
    port = free_port()
    command = [sys.executable, "-m", "gcp_storage_emulator", "start", "--in-memory", "--quiet"]
    with running([*command, "--host", "127.0.0.1", "--port", str(port)], port) as address:
        yield address


@pytest.fixture(scope="session")
def azure_server(tmp_path_factory):
    program = shutil.which("azurite-blob")
    if program is None:
        pytest.skip("Azurite is not installed: npm install -g azurite")
    port, folder = free_port(), tmp_path_factory.mktemp("azurite")
    command = [program, "--silent", "--skipApiVersionCheck", "--location", str(folder)]
    with running([*command, "--blobPort", str(port)], port) as address:
        yield address


@pytest.fixture
def google_store(google_server, monkeypatch):
    found = OtherStore("gs", google_server, monkeypatch)
    yield found
    found.proxy.close()


@pytest.fixture
def azure_store(azure_server, monkeypatch):
    found = OtherStore("az", azure_server, monkeypatch)
    yield found
    found.proxy.close()
