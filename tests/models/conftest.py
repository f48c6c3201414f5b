"""A small checkpoint folder to break."""

import shutil

import pytest

from ixc.models.xcomposer2 import XComposer2ImageProcessor, XComposer2Processor
from tests.checkpoints import real_tokenizer, tiny_model


@pytest.fixture(scope="session")
def good_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("checkpoint")
    tiny_model().save_pretrained(folder)
    XComposer2Processor(XComposer2ImageProcessor(max_patches=9), real_tokenizer(), default_system="Hi").save_pretrained(folder)
    return folder


@pytest.fixture
def folder(good_folder, tmp_path):
    return shutil.copytree(good_folder, tmp_path / "checkpoint")
