"""The page of tools/demo.py, served and used by programs and by a browser."""

import os
import re
import shutil
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from io import BytesIO
from threading import Thread

import exported
import numpy as np
import pytest
import tifffile
from PIL import Image

from edgenext_mm.analysis.drawing import draw
from edgenext_mm.analysis.inference import load_predictor
from edgenext_mm.errors import InputError
from edgenext_mm.images import read_image
from edgenext_mm.runtime import Classification

gradio_client = pytest.importorskip('gradio_client', reason='make test-page')
from edgenext_mm.analysis import page  # noqa: E402

BOXES, SCORES = [[0, 0, 16, 16], [8, 8, 32, 32], [0, 0, 9, 9]], [[0.9, 0], [0, 0.5], [0.2, 0]]


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp('page')
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv('GRADIO_TEMP_DIR', str(path / 'gradio'))  # of all servers of this process
        yield path


@pytest.fixture(scope='module')
def images(folder):
    """Images that are read otherwise than Pillow's colors."""
    (folder / 'images').mkdir()
    values = np.random.default_rng(0).integers(0, 256, (64, 96, 4), np.uint8)
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by a quarter
    Image.fromarray(values[:, :, :3]).save(folder / 'images/a.jpg', exif=exif)
    Image.fromarray(values).save(folder / 'images/transparent.png')
    Image.fromarray(values[:, :, 0].astype(np.uint16) << 8).save(folder / 'images/deep.png')
    tifffile.imwrite(folder / 'images/deep.tif', values[:, :, :3].astype(np.uint16) << 8)
    return folder / 'images'


def start(predict, color_type='color', examples=()):
    """Serve a page, and return where it is."""
    address = page.listen('127.0.0.1', 0)
    build = partial(page.build_page, predict, color_type, 'model_with_a_name' * 4, examples)
    Thread(target=page.serve, args=[address, build], daemon=True).start()
    url = f'http://127.0.0.1:{address.getsockname()[1]}'
    return url


def client_of(url, folder):
    return gradio_client.Client(url, download_files=folder, verbose=False, analytics_enabled=False)


def send(client, path, score=0.3, labels=()):
    """Return the picture, and what the table has."""
    picture, html = client.predict(
        gradio_client.handle_file(path), score, list(labels), api_name='/predict'
    )
    rows = re.findall(r'<td>(?:<span.*?</span> )?(.*?)</td><td>(.*?)</td>', html)
    return np.array(Image.open(picture)).astype(int), dict(rows)


@pytest.fixture(scope='module')
def detector(folder, images):
    path = exported.constant_boxes(folder / 'a.onnx', BOXES, SCORES)
    return start(load_predictor(str(path))[0], 'color', page.find_examples(str(images)))


def test_objects(detector, folder, images, monkeypatch):
    client = client_of(detector, folder)
    picture, rows = send(client, images / 'a.jpg')
    plain = read_image(images / 'a.jpg')[:, :, ::-1].astype(int)
    assert picture.shape == plain.shape == (96, 64, 3)  # upright
    assert np.abs(picture - plain)[:40, :30].max() > 100
    assert rows == {'class 0': '1', 'class 1': '1'}
    assert send(client, images / 'a.jpg', 0.1)[1] == {'class 0': '2', 'class 1': '1'}
    assert send(client, images / 'a.jpg', 0.1, [0])[1] == {'class 0': '2'}
    # What cannot be read is named, without the folder, and ends nothing.
    (folder / 'broken.jpg').write_bytes(b'no image')
    with pytest.raises(
        gradio_client.exceptions.AppError, match=r'broken\.jpg cannot be read'
    ) as error:
        send(client, folder / 'broken.jpg')
    assert str(folder) not in str(error.value) and 'Traceback' not in str(error.value)
    monkeypatch.setattr(Image, 'MAX_IMAGE_PIXELS', 1000)
    with pytest.raises(gradio_client.exceptions.AppError, match=r'deep\.png is too large'):
        send(client, images / 'deep.png')


def test_masks_of_images_of_all_kinds(folder, images):
    path = exported.brightest_channel(folder / 'b.onnx')
    predict, color_type = load_predictor(str(path))
    client = client_of(start(predict, color_type), folder)
    for image in images.iterdir():
        plain = read_image(image)
        picture, rows = send(client, image)
        mask = predict(plain).mask
        shares = {name: f'{np.mean(mask == i):.1%}' for i, name in enumerate(predict.names)}
        assert rows == {name: share for name, share in shares.items() if share != '0.0%'}
        assert_drawn(picture, plain, predict(plain))
        picture, rows = send(client, image, labels=[2])
        assert_drawn(picture, plain, page.chosen(predict(plain), 0, [2]))
        assert [*rows] == ['blue'] * (2 in mask)
        assert (picture[mask != 2] - plain[:, :, ::-1][mask != 2]).mean() < 5  # not painted


def assert_drawn(picture, image, result):
    file = BytesIO()
    draw(image, result).save(file, 'JPEG')
    assert picture.shape == image.shape
    assert np.abs(picture - np.array(Image.open(file))).mean() < 3


def test_users_at_once(folder):
    """Each gets what is for them, and the model predicts one image at a time."""
    running = []

    def predict(image):
        running.append(image.shape)
        time.sleep(0.1)
        assert len(running) == 1
        running.pop()
        return Classification(np.array([image.mean() / 255]), ['<b>bright</b>'])

    url = start(predict)
    sizes = [(20 + 10 * i, 40) for i in range(4)]
    for i, size in enumerate(sizes):
        Image.new('RGB', size, (60 * i, 60 * i, 60 * i)).save(folder / f'{i}.png')
    clients = [client_of(url, folder) for _ in sizes]
    with ThreadPoolExecutor(len(sizes)) as users:
        jobs = [users.submit(send, client, folder / f'{i}.png') for i, client in enumerate(clients)]
        for i, job in enumerate(jobs):
            picture, rows = job.result()
            assert picture.shape[1::-1] == sizes[i]
            assert rows == {'&lt;b&gt;bright&lt;/b&gt;': f'{60 * i / 255:.3f}'}


@pytest.fixture(scope='module')
def browser():
    found = os.environ.get('CHROMIUM') or shutil.which('chromium') or shutil.which('google-chrome')
    if not found:
        pytest.skip('no Chromium: set CHROMIUM, or apt-get install chromium')
    sync_api = pytest.importorskip('playwright.sync_api', reason='make test-page')
    with sync_api.sync_playwright() as playwright:
        camera = ['--use-fake-device-for-media-stream', '--use-fake-ui-for-media-stream']
        browser = playwright.chromium.launch(executable_path=found, args=['--no-sandbox', *camera])
        yield browser
        browser.close()


def test_a_phone(browser, detector, images):
    """By touch, with nothing beside the screen, and nothing from another host."""
    tab = browser.new_page(viewport=dict(width=390, height=844), has_touch=True)
    hosts = set()
    tab.on('request', lambda request: hosts.add(request.url.split('/')[2]))
    tab.goto(detector)
    tab.get_by_role('button', name='Thumbnail 1').tap()
    tab.get_by_role('cell', name='class 1').wait_for()
    assert tab.evaluate('document.documentElement.scrollWidth') == 390
    (heading,) = tab.locator('h1').all()
    assert heading.evaluate('heading => heading.scrollWidth <= heading.clientWidth')
    assert hosts == {detector.removeprefix('http://')}
    tab.close()


def test_a_keyboard(browser, detector):
    tab = browser.new_page()
    tab.goto(detector)
    tab.get_by_role('button', name='Thumbnail 1').wait_for()

    def go_to(label):
        for _ in range(40):
            tab.keyboard.press('Tab')
            focused = tab.evaluate('document.activeElement.ariaLabel')
            if (focused or '').startswith(label):
                return
        raise AssertionError(f'Tab does not reach {label}')

    go_to('Thumbnail 1')
    tab.keyboard.press('Enter')
    tab.get_by_role('cell', name='class 1').wait_for()
    go_to('range slider for Score threshold')
    tab.keyboard.press('End')
    tab.get_by_role('cell').first.wait_for(state='detached')
    tab.keyboard.press('Home')
    tab.get_by_role('cell', name='class 1').wait_for()
    go_to('Classes')
    tab.keyboard.type('class 0')
    tab.keyboard.press('Enter')
    tab.get_by_role('cell', name='class 1').wait_for(state='detached')
    assert [text.strip() for text in tab.get_by_role('cell').all_inner_texts()] == ['class 0', '2']
    tab.close()


def test_a_camera_and_a_broken_file(browser, detector, folder):
    tab = browser.new_page()
    tab.goto(detector)
    (folder / 'broken.png').write_bytes(b'no image')
    tab.get_by_label('File upload').set_input_files(folder / 'broken.png')
    tab.get_by_text('broken.png cannot be read as an image').wait_for()
    assert not tab.get_by_text('Traceback').count()
    tab.get_by_label('Capture from camera').click()
    tab.get_by_text('Click to Access Webcam').click()
    tab.wait_for_function('document.querySelector("video")?.videoWidth > 0')  # has a picture
    tab.get_by_label('capture photo').click()
    tab.get_by_role('cell', name='class 1').wait_for()
    tab.close()


def test_messages(run_tool, tmp_path, monkeypatch):
    with socket.create_server(('127.0.0.1', 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(InputError, match=rf':{port} is no address .*in use.*: choose --host'):
            page.listen('127.0.0.1', port)
    for host, number in (('no.such.host.invalid', 0), ('127.0.0.1', 99_999)):
        with pytest.raises(InputError, match='is no address for the page'):
            page.listen(host, number)
    (tmp_path / 'broken.onnx').write_bytes(b'no model')
    with pytest.raises(SystemExit, match=r'broken\.onnx has no metadata'):
        run_tool('demo.py', 'broken.onnx', '--port', 0)
    with pytest.raises(SystemExit, match='missing is no folder with images'):
        run_tool('demo.py', 'broken.onnx', '--port', 0, '--examples', 'missing')
