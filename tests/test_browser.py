"""The report page as a browser shows it."""

from __future__ import annotations

import shutil
import subprocess

import numpy as np
import pytest

from cnnjax import SGD, Experiment, Hardware, Options, SmallCNN, Study, Synthetic, report, sweep

pytestmark = pytest.mark.browser

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    if CHROMIUM is None:
        pytest.skip("needs Chromium on the PATH (make test-browser)")
    folder = tmp_path_factory.mktemp("study")
    experiment = Experiment(
        model=SmallCNN(features=2, dense=0),
        data=Synthetic(height=8, width=8, channels=1, classes=4, examples=40, test_examples=16),
        optim=SGD(learning_rate=0.05),
        batch_size=8,
        epochs=2,
    )
    study = Study(experiment, axes={"model.features": [2, 3], "model.pool": ["max", "average"]}, seeds=2)
    sweep(study, folder, question="Is <b>this</b> a page?", options=Options(Hardware(devices=1)))
    report(folder)
    return folder / "report" / "index.html"


def chromium(page, tmp_path, *words):
    quiet = ["--disable-background-networking", "--disable-component-update", "--disable-sync", "--no-first-run"]
    command = [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", *quiet, f"--user-data-dir={tmp_path}/profile"]
    done = subprocess.run([*command, *words, page.as_uri()], capture_output=True, timeout=120, check=True)
    return done.stdout.decode()


def test_the_page_holds_the_table_and_its_pictures(page, tmp_path):
    document = chromium(page, tmp_path, "--dump-dom")
    assert "Is &lt;b&gt;this&lt;/b&gt; a page?" in document
    assert document.count("<tr") > 4
    assert document.count("<img") + document.count("<svg") >= 3


def test_the_page_is_drawn(page, tmp_path):
    from matplotlib.image import imread

    picture = tmp_path / "page.png"
    chromium(page, tmp_path, f"--screenshot={picture}", "--window-size=1000,2000")
    pixels = imread(picture)[..., :3]
    assert pixels.shape[:2] == (2000, 1000)
    assert len(np.unique(pixels.reshape(-1, 3), axis=0)) > 50, "a blank page has few colours"
