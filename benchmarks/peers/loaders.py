"""Measures other loaders on the same objects, each set up as its documentation says: two workers, batches of 128, uint8.

python loaders.py PEER URL DECODER IMAGES     prints images/s, the first batch not counted
python loaders.py write-mds TAR... URL        the same images as mosaicml-streaming's own shards
python loaders.py write-litdata TAR... URL    and as litdata's
"""

import io
import os
import shutil
import sys
import tarfile
import tempfile
import time
from collections.abc import Iterator
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType

import boto3
import numpy as np
import simplejpeg
import torch
from PIL import Image
from torch.utils.data import DataLoader, IterableDataset

BATCH, WORKERS = 128, 2


def pillow(content: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(content)).convert("RGB"))


def turbo(content: bytes) -> np.ndarray:
    return simplejpeg.decode_jpeg(content, "RGB")


DECODERS = {"pillow": pillow, "simplejpeg": turbo}


def bucket_and_prefix(url: str) -> tuple[str, str]:
    bucket, _, prefix = url.removeprefix("s3://").partition("/")
    return bucket, prefix


def client():
    return boto3.Session().client("s3", endpoint_url=os.environ["AWS_ENDPOINT_URL"])


def tars(url: str) -> list[str]:
    bucket, prefix = bucket_and_prefix(url)
    found = client().list_objects_v2(Bucket=bucket, Prefix=f"{prefix}/")["Contents"]
    return [f"s3://{bucket}/{item['Key']}" for item in found if item["Key"].endswith(".tar")]


def webdataset(urls: list[str], decoder: str) -> DataLoader:
    import webdataset as wds

    set_up = wds.WebDataset(urls, shardshuffle=False)
    if decoder == "pillow":
        set_up = set_up.decode("pil").to_tuple("jpg").map_tuple(np.asarray)
    else:
        set_up = set_up.to_tuple("jpg").map_tuple(turbo)
    return DataLoader(set_up.batched(BATCH, partial=False), batch_size=None, num_workers=WORKERS)


def webdataset_pipe(url: str, decoder: str) -> DataLoader:
    aws = Path(sys.executable).parent / "aws"
    return webdataset([f"pipe:{aws} s3 cp {tar} -" for tar in tars(url)], decoder)


def webdataset_boto3(url: str, decoder: str) -> DataLoader:
    import webdataset as wds

    def opened(tar: str, mode: str = "rb", bufsize: int = 8192, **_: object):
        bucket, key = bucket_and_prefix(tar)
        return client().get_object(Bucket=bucket, Key=key)["Body"]

    # the package's attribute gopen is the function, which hides the module of that name
    sys.modules[wds.gopen.__module__].gopen_schemes["s3"] = opened
    return webdataset(tars(url), decoder)


class TarsThroughConnector(IterableDataset):
    """Reads each object of s3torchconnector as a tar stream."""

    def __init__(self, url: str, decoder: str) -> None:
        self.url, self.decoder = url, decoder

    def __iter__(self) -> Iterator[np.ndarray]:
        from s3torchconnector import S3ClientConfig, S3IterableDataset

        objects = S3IterableDataset.from_prefix(
            self.url + "/train",
            region="us-east-1",
            endpoint=os.environ["AWS_ENDPOINT_URL"],
            enable_sharding=True,
            s3client_config=S3ClientConfig(force_path_style=True),
        )
        decode = DECODERS[self.decoder]
        for reader in objects:
            if not reader.key.endswith(".tar"):
                continue
            with tarfile.open(fileobj=reader, mode="r|") as tar:
                for member in tar:
                    if member.name.endswith(".jpg"):
                        yield decode(tar.extractfile(member).read())


def s3torchconnector(url: str, decoder: str) -> DataLoader:
    return DataLoader(TarsThroughConnector(url, decoder), batch_size=BATCH, num_workers=WORKERS, drop_last=True)


def without_torchvision() -> None:
    """Replace torchvision where none fits torch: mosaicml-streaming imports one class of it, for sets not used here."""
    try:
        import torchvision  # noqa: F401
    except (ImportError, RuntimeError):
        for name in [name for name in sys.modules if name.startswith("torchvision")]:
            del sys.modules[name]
        vision, datasets_module, transforms = (ModuleType(f"torchvision{part}") for part in ("", ".datasets", ".transforms"))
        datasets_module.VisionDataset = transforms.Compose = type("Absent", (), {})
        transforms.functional = ModuleType("torchvision.transforms.functional")
        transforms.functional.to_tensor = None
        vision.datasets, vision.transforms = datasets_module, transforms
        for module in (vision, datasets_module, transforms, transforms.functional):
            module.__spec__ = ModuleSpec(module.__name__, None)
            sys.modules[module.__name__] = module


def mosaicml_streaming(url: str, decoder: str) -> DataLoader:
    without_torchvision()
    from streaming import StreamingDataset

    os.environ["S3_ENDPOINT_URL"] = os.environ["AWS_ENDPOINT_URL"]

    class Decoded(StreamingDataset):
        def __getitem__(self, i: int) -> np.ndarray:
            return DECODERS[decoder](super().__getitem__(i)["image"])

    local = tempfile.mkdtemp()
    return DataLoader(
        Decoded(remote=f"{url}-mds", local=local, batch_size=BATCH, shuffle=False), batch_size=BATCH, num_workers=WORKERS
    )


def litdata(url: str, decoder: str) -> DataLoader:
    from litdata import StreamingDataLoader, StreamingDataset
    from litdata.streaming import downloader

    downloader._OBSTORE_CLIENT_OPTIONS["allow_http"] = True  # litdata has no option for it

    class Decoded(StreamingDataset):
        def __getitem__(self, i):
            return DECODERS[decoder](super().__getitem__(i)["image"])

    options = {"endpoint_url": os.environ["AWS_ENDPOINT_URL"], "region_name": "us-east-1"}
    cache = tempfile.mkdtemp()
    dataset = Decoded(f"{url}-litdata", storage_options=options, cache_dir=cache, shuffle=False, drop_last=False)
    return StreamingDataLoader(dataset, batch_size=BATCH, num_workers=WORKERS)


PEERS = {
    "webdataset_pipe": webdataset_pipe,
    "webdataset_boto3": webdataset_boto3,
    "s3torchconnector": s3torchconnector,
    "mosaicml_streaming": mosaicml_streaming,
    "litdata": litdata,
}


def images_of(paths: list[str]) -> Iterator[bytes]:
    for path in paths:
        with tarfile.open(path) as tar:
            for member in tar:
                if member.name.endswith(".jpg"):
                    yield tar.extractfile(member).read()


def upload(folder: str, url: str) -> None:
    bucket, prefix = bucket_and_prefix(url)
    for path in sorted(Path(folder).iterdir()):
        client().upload_file(str(path), bucket, f"{prefix}/{path.name}")


def write_mds(paths: list[str], url: str) -> None:
    without_torchvision()
    from streaming import MDSWriter

    folder = tempfile.mkdtemp()
    with MDSWriter(out=folder, columns={"image": "bytes"}, size_limit=Path(paths[0]).stat().st_size) as writer:
        for image in images_of(paths):
            writer.write({"image": image})
    upload(folder, f"{url}-mds")
    shutil.rmtree(folder)


def write_litdata(paths: list[str], url: str) -> None:
    from litdata.streaming.cache import Cache

    folder = tempfile.mkdtemp()
    cache = Cache(folder, chunk_bytes=Path(paths[0]).stat().st_size)
    for i, image in enumerate(images_of(paths)):
        cache[i] = {"image": image}
    cache.done()
    cache.merge()
    upload(folder, f"{url}-litdata")
    shutil.rmtree(folder)


def measure(peer: str, url: str, decoder: str, images: int) -> float:
    """Measure images/s over ``images`` images, epoch after epoch."""
    loader = PEERS[peer](url, decoder)
    seen, started = 0, None
    while started is None or seen < images:
        for batch in loader:
            batch = batch[0] if isinstance(batch, list | tuple) else batch
            assert torch.as_tensor(batch).shape[1:] == (128, 64, 3)
            if started is None:
                started = time.perf_counter()
                continue
            seen += len(batch)
            if seen >= images:
                break
    return seen / (time.perf_counter() - started)


if __name__ == "__main__":
    task, *arguments = sys.argv[1:]
    if task == "write-mds":
        write_mds(arguments[:-1], arguments[-1])
    elif task == "write-litdata":
        write_litdata(arguments[:-1], arguments[-1])
    else:
        # os._exit, because some loaders leave processes and threads that a plain exit waits for
        print(measure(task, arguments[0], arguments[1], int(arguments[2])), flush=True)
        os._exit(0)
