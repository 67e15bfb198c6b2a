import hashlib
from pathlib import Path

import pytest
from huggingface_hub.errors import LocalEntryNotFoundError

from jaxcxr.errors import UserError
from jaxcxr.models import backbones
from jaxcxr.models.weights import hub_file, imagenet

THIRD_PARTY = Path(__file__).parents[3] / "third_party"


def test_every_backbone_has_pinned_weights():
    manifest = imagenet.manifest()
    assert manifest.keys() == set(backbones())
    for pinned in manifest.values():
        assert len(bytes.fromhex(pinned["sha256"])) == 32
        assert len(bytes.fromhex(pinned["revision"])) == 20
        assert pinned["license"] in ("BSD-3-Clause", "Apache-2.0")


def test_third_party_shows_the_manifests_that_are_used():
    for name in ("imagenet_weights.toml", "models.toml"):
        packaged = Path(imagenet.__file__).with_name(name)
        assert (THIRD_PARTY / name).read_bytes() == packaged.read_bytes()


@pytest.fixture
def pinned(tmp_path, monkeypatch):
    """Pins a small file as ResNet-34's and looks for weights in a folder of the test's own."""
    monkeypatch.setenv("JAXCXR_WEIGHTS", str(tmp_path))
    sha256 = hashlib.sha256(b"weights").hexdigest()
    pinned = {"repository": "timm/it", "revision": "abc", "file": "it.safetensors", "size": "7 B"}
    pinned["sha256"] = sha256
    monkeypatch.setattr(imagenet, "manifest", lambda: {"ResNet34": pinned})
    return tmp_path / "ResNet34.safetensors"


def test_a_file_put_by_hand_is_used_when_its_hash_is_right(pinned):
    pinned.write_bytes(b"weights")
    assert imagenet.fetch("ResNet34") == pinned
    pinned.write_bytes(b"other")
    with pytest.raises(UserError, match="SHA-256") as error:
        imagenet.fetch("ResNet34")
    assert str(pinned) in str(error.value)
    with pytest.raises(UserError, match="ResNet35"):
        imagenet.fetch("ResNet35")


def test_the_pinned_revision_is_downloaded_and_checked(pinned, monkeypatch):
    asked = []

    def download(*names, revision):
        asked.append((*names, revision))
        cached = pinned.with_name("cached")
        cached.write_bytes(b"weights")
        return str(cached)

    monkeypatch.setattr(hub_file.huggingface_hub, "hf_hub_download", download)
    assert imagenet.fetch("ResNet34").read_bytes() == b"weights"
    assert asked == [("timm/it", "it.safetensors", "abc")]


def test_offline_the_error_says_which_file_to_put_where(pinned, monkeypatch):
    def download(*_, **__):
        raise LocalEntryNotFoundError("no connection")

    monkeypatch.setattr(hub_file.huggingface_hub, "hf_hub_download", download)
    with pytest.raises(UserError) as error:
        imagenet.fetch("ResNet34")
    message = str(error.value)
    assert "https://huggingface.co/timm/it/resolve/abc/it.safetensors" in message
    assert str(pinned) in message
    assert "\n" not in message
