"""A page in the browser on which a model predicts images."""

import os
import socket
from collections.abc import Callable, Sequence
from html import escape
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Thread
from time import perf_counter

import gradio as gr
import numpy as np
import uvicorn
from fastapi import FastAPI
from PIL import Image

from ..errors import InputError
from ..images import decode_image
from ..runtime import Classification, Detections, Segmentation
from .drawing import TOP, Result, colors_of, draw, only
from .inference import OF_ONE_IMAGE, fault, find_sources

#: Images of a folder that are offered as examples.
EXAMPLES = 8
DEMO_IMAGES = 'data/demo/val2017'
# Of the machine that shows the page: nothing is fetched.
_THEME = gr.themes.Default(font=['system-ui', 'sans-serif'], font_mono=['monospace'])
# For the width of a phone: names have no blanks, and the gallery's columns have a least width.
_CSS = """
h1 { overflow-wrap: anywhere }
#examples .grid-container { grid-template-columns: repeat(4, minmax(0, 1fr)) }
"""
_DAY = 24 * 3600


def build_page(
    predict: Callable[[np.ndarray], Result],
    color_type: str | int,
    title: str,
    examples: Sequence[str] = (),
    score_thr: float = 0.3,
) -> gr.Blocks:
    """Build the page of a model.

    Args:
        predict: see :func:`~edgenext_mm.analysis.inference.load_predictor`.
        color_type: as well.
        title: of the page.
        examples: files of images to choose from. Defaults to none.
        score_thr: objects of lower scores are left out at first. Defaults to 0.3.

    Returns:
        The page, for :func:`serve`.

    Raises:
        InputError: if the model cannot predict.
    """
    bands = {'color': 3, 'grayscale': 1}.get(str(color_type), color_type)
    # Tells what the model finds, and its first image would take longer than those that follow.
    sample = predict(np.zeros((64, 64, int(bands)), np.uint8).squeeze())
    names = sample.names

    def show(path: str | None, score: float, labels: list[int]) -> tuple[Image.Image | None, str]:
        if path is None:
            return None, ''
        name = Path(path).name
        try:
            image = decode_image(Path(path).read_bytes(), name, color_type)
            start = perf_counter()
            result = predict(image)
            milliseconds = 1000 * (perf_counter() - start)
        except (OSError, *OF_ONE_IMAGE) as error:
            message = escape(fault(name, error))
            raise gr.Error(message, duration=None, print_exception=False) from error
        result = chosen(result, score, labels)
        return draw(image, result), table(result, milliseconds)

    def take(event: gr.SelectData) -> str:
        return examples[event.index]

    with gr.Blocks(title=title, analytics_enabled=False, delete_cache=(3600, _DAY)) as page:
        gr.HTML(f'<h1>{escape(title)}</h1>')
        with gr.Row():
            with gr.Column():
                image = gr.Image(
                    label='Image', type='filepath', sources=['upload', 'webcam', 'clipboard']
                )
                # Gradio opens images by Pillow, which turns no EXIF and knows less of TIFF.
                image.preprocess = lambda sent: sent and sent.path
                gallery = gr.Gallery(
                    list(examples),
                    label='Examples',
                    elem_id='examples',
                    height='fit-content',
                    allow_preview=False,
                    interactive=False,
                    buttons=[],
                    visible=bool(examples),
                )
            with gr.Column():
                picture = gr.Image(
                    label='Result',
                    format='jpeg',
                    interactive=False,
                    buttons=['download', 'fullscreen'],
                )
                found = gr.HTML()
                score = gr.Slider(
                    *(0, 1, score_thr),
                    step=0.01,
                    label='Score threshold',
                    visible=isinstance(sample, Detections),
                )
                labels = gr.Dropdown(
                    [(name, label) for label, name in enumerate(names)],
                    value=[],
                    multiselect=True,
                    label='Classes',
                    info='All, if none is chosen',
                    visible=not isinstance(sample, Classification),
                )
        gallery.select(take, outputs=image, api_visibility='private')
        gr.on(
            [image.change, score.change, labels.change],
            show,
            [image, score, labels],
            [picture, found],
            api_name='predict',
            trigger_mode='always_last',
            concurrency_limit=1,  # not all runtimes may be used by two threads at once
        )
    return page


def chosen(result: Result, score_thr: float, labels: Sequence[int]) -> Result:
    """Return what is to be shown of a result.

    Args:
        result: of a predictor; a classifier's stays as it is.
        score_thr: objects of lower scores are left out.
        labels: classes; of a mask the others become -1. If there is none, all classes are shown.

    Example:
        >>> mask = Segmentation(np.array([[0, 1]]), ['sky', 'sea'], ())
        >>> chosen(mask, 0.3, [1]).mask
        array([[-1,  1]])
    """
    if isinstance(result, Detections):
        result = only(result, result.scores >= score_thr)
        return only(result, np.isin(result.labels, labels)) if labels else result
    if isinstance(result, Segmentation) and labels:
        return result._replace(mask=np.where(np.isin(result.mask, labels), result.mask, -1))
    return result


def table(result: Result, milliseconds: float) -> str:
    """Return HTML with what was found of each class, beside the color in which it is drawn.

    Args:
        result: as :func:`chosen` returns it.
        milliseconds: that the prediction took.

    Returns:
        The number of objects of each class, or the share of the pixels, most frequent first; for a
        classifier the best scores.

    Example:
        >>> table(Classification(np.array([0.9, 0.1]), ['sky', 'sea']), 9.8)
        '<table><caption>Predicted in 9.8 ms</caption><tr><th>Class</th><th>Score</th></tr>...'
    """
    if isinstance(result, Classification):
        head = 'Score'
        rows = [(escape(name), f'{score:.3f}') for name, score in result.top(TOP)]
    else:
        if isinstance(result, Segmentation):
            head, labels, pixels = 'Pixels', result.mask[result.mask >= 0], result.mask.size
        else:
            head, labels, pixels = 'Objects', result.labels, 0
        colors = colors_of(result)
        found, counts = np.unique(labels, return_counts=True)
        rows = [
            (
                f'<span style="background: rgb{colors[label]}">&emsp;</span> '
                f'{escape(result.names[label])}',
                f'{count / pixels:.1%}' if pixels else str(count),
            )
            for label, count in sorted(zip(found, counts, strict=True), key=lambda pair: -pair[1])
        ]
    lines = ''.join(f'<tr><td>{name}</td><td>{value}</td></tr>' for name, value in rows)
    return (
        f'<table><caption>Predicted in {milliseconds:.1f} ms</caption>'
        f'<tr><th>Class</th><th>{head}</th></tr>{lines}</table>'
    )


def find_examples(folder: str | None) -> list[str]:
    """Return the first images of a folder.

    Args:
        folder: the folder. Defaults to that of the demo's data, if it is there.

    Raises:
        InputError: if it has no image.

    Example:
        >>> find_examples('missing')
        Traceback (most recent call last):
        edgenext_mm.errors.InputError: missing is no folder with images: set --examples
    """
    if folder is None and not os.path.isdir(DEMO_IMAGES):
        return []
    folder = folder or DEMO_IMAGES
    sources = find_sources([folder]) if os.path.isdir(folder) else []
    found = [str(source.path) for source in sources if source.is_image][:EXAMPLES]
    if not found:
        raise InputError(f'{folder} is no folder with images: set --examples')
    return found


def listen(host: str, port: int) -> socket.socket:
    """Take an address for :func:`serve`.

    Raises:
        InputError: if it is in use, or not of this machine.
    """
    try:
        return socket.create_server((host, port))
    except (OSError, OverflowError) as error:
        reason = str(getattr(error, 'strerror', None) or error).partition(' (')[0]
        raise InputError(
            f'{host}:{port} is no address for the page ({reason}): choose --host and --port'
        ) from error


def serve(address: socket.socket, build: Callable[[], gr.Blocks]) -> None:
    """Serve a page until the process is interrupted.

    Args:
        address: of :func:`listen`.
        build: what builds the page.
    """
    # In Gradio's own folder images would outlive the server, and it may be another user's.
    with TemporaryDirectory(prefix='edgenext_mm_') as folder:
        os.environ.setdefault('GRADIO_TEMP_DIR', folder)
        app = gr.mount_gradio_app(
            FastAPI(),
            build(),
            '/',
            footer_links=[],
            run_history=False,
            ssr_mode=False,
            mcp_server=False,
            theme=_THEME,
            css=_CSS,
        )
        host, port = address.getsockname()[:2]
        print(f'The page is at http://{host}:{port}. Ctrl-C ends it.', flush=True)
        server = uvicorn.Server(uvicorn.Config(app, log_level='warning'))
        # In a thread of its own: in this one it would wait at Ctrl-C until all browsers have left.
        thread = Thread(target=server.run, args=[[address]], daemon=True)
        thread.start()
        thread.join()
