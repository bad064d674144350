"""Data sets as hypothesis spoils them: whole ones, of which a few things are changed.

A case is a folder to write and the config of a data set in it. What is drawn is small: it says
which parts of a whole data set to replace, by what.
"""

import copy
import io
import json
import os
import shutil
import struct
import zlib
from dataclasses import dataclass, field
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
from hypothesis import strategies as st
from PIL import Image

CLASSES = ('cat', 'dog')
SIZE = (40, 48)  # of the images, height and width in pixels


@dataclass
class Case:
    """A data set to write.

    Attributes:
        files: what to write, by the path in the folder: bytes, or a function of the path.
        dataset: settings of the data set that are not those of the task's demo config.
        changes: what was done to it, in words, for who reads a failure.
    """

    files: dict
    dataset: dict = field(default_factory=dict)
    changes: list[str] = field(default_factory=list)

    def write(self, root):
        for name, content in self.files.items():
            path = Path(root, name)
            path.parent.mkdir(parents=True, exist_ok=True)
            if callable(content):
                content(path)
            elif not path.is_dir():  # a folder of this name has other files of the case
                path.write_bytes(content)

    def _repr_pretty_(self, printer, cycle):
        printer.text(repr(self))

    def __repr__(self):
        return f'{"; ".join(self.changes) or "unchanged"} {self.dataset or ""}'


def nested(depth):
    value = []
    for _ in range(depth):
        value = [value]
    return value


NUMBERS = [
    *(0, -1, 1, 2, 0.5, 1e-320, -0.0, 20.5, 39, 40, 41, 47, 48, 49, 255, 256, 2**31, 2**63, 10**30),
    *(-(2**63), 1e308, -1e308, float('nan'), float('inf'), float('-inf'), True, False),
]
TEXTS = [
    *('', ' ', '0', '12', ' 7 ', '-3', '1e3', '0x10', '1,5', '1_0', 'nan', 'inf', '٣', '²', 'cat'),
    *(
        'CAT',
        ' cat',
        'cta',
        'bird',
        'ünï-猫',
        '\ud800',
        '\0',
        'a\nb',
        '..',
        '../1.png',
        '/etc/passwd',
    ),
    *(
        '1.png',
        '2.png',
        '/',
        '.',
        'x' * 300,
        '%s',
        '{0}',
        "it's",
        'C:\\a\\b.png',
        '~',
        '1.PNG',
        'NaN',
    ),
]
OTHERS = [
    None,
    [],
    {},
    [[]],
    [None],
    {'a': 1},
    [1],
    [1, 2, 3],
    [1, 2, 3, 4, 5],
    ['1', '2', '3', '4'],
]
VALUES = [*NUMBERS, *TEXTS, *OTHERS]
BOXES = [
    *([0, 0, 48, 40], [0, 0, 1, 1], [0.2, 0.2, 0.5, 0.5], [5, 5, 0, 9], [5, 5, 9, 0], [5, 5, 0, 0]),
    *([9, 9, -4, 5], [-9, -9, 5, 5], [-9, -9, 20, 20], [40, 30, 50, 50], [60, 60, 9, 9]),
    *(['4', '4', '20', '16'], [4, 4, 20], [4, 4, 20, 16, 1], [1e308, 1e308, 1e308, 1e308]),
    *(
        [float('nan')] * 4,
        [0, 0, float('inf'), 5],
        [[4, 4, 20, 16]],
        {'x': 4},
        [1e-9] * 4,
        '4 4 9 9',
    ),
]


def places(document, path=()):
    """Yield the paths of everything in a document."""
    if isinstance(document, dict):
        items = document.items()
    elif isinstance(document, list):
        items = enumerate(document)
    else:
        return
    for key, value in items:
        yield (*path, key)
        yield from places(value, (*path, key))


def change_document(draw, document, values):
    """Change one thing of a document of dicts and lists; return what, in words."""
    path = draw(st.sampled_from(list(places(document))))
    parent = document
    for key in path[:-1]:
        parent = parent[key]
    key = path[-1]
    where = '/'.join(map(str, path))
    what = draw(st.sampled_from(['replace', 'remove', 'everywhere', 'repeat', 'wrap', 'rename']))
    if what == 'replace':
        parent[key] = copy.deepcopy(draw(st.sampled_from(values)))
        return f'{where} = {parent[key]!r:.60}'
    if what == 'everywhere':  # as a tool that exports writes it
        value = draw(st.sampled_from([*values, ...]))
        siblings = document.get(path[0]) if isinstance(document, dict) else document
        for item in siblings if isinstance(siblings, list) else []:
            if isinstance(item, dict) and key in item:
                if value is ...:
                    del item[key]
                else:
                    item[key] = copy.deepcopy(value)
        return f'{key} everywhere = {value!r:.60}'
    if what == 'wrap':
        parent[key] = draw(st.sampled_from([[parent[key]], {'a': parent[key]}, str(parent[key])]))
    elif what == 'repeat' and isinstance(parent, list):
        parent.insert(key, copy.deepcopy(parent[key]))
    elif what == 'rename' and isinstance(parent, dict):
        parent[f'{key}'.upper()] = parent.pop(key)
    else:
        what = 'remove'
        del parent[key]
    return f'{what} {where}'


def change_bytes(draw, content):
    """Return bytes of a file as programs, or accidents, leave them; and what happened."""
    what = draw(
        st.sampled_from(
            ['truncated', 'empty', 'BOM', 'UTF-16', 'Latin-1', 'byte', 'zeros', 'CRLF', 'twice']
        )
    )
    if what == 'truncated':
        return content[: draw(st.integers(1, max(len(content) - 1, 1)))], what
    if what == 'byte':
        place = draw(st.integers(0, max(len(content) - 1, 0)))
        value = draw(st.sampled_from([0, 10, 34, 60, 128, 255]))
        return content[:place] + bytes([value]) + content[place + 1 :], f'byte {place} = {value}'
    text = content.decode('latin-1')
    return {
        'empty': b'',
        'BOM': b'\xef\xbb\xbf' + content,
        'UTF-16': text.encode('utf-16'),
        'Latin-1': text.replace('cat', 'c\xe4t').encode('latin-1'),
        'zeros': bytes(len(content)),
        'CRLF': content.replace(b'\n', b'\r\n'),
        'twice': content * 2,
    }[what], what


# Images.


def pixels(seed=0, channels=3):
    shape = (*SIZE, channels) if channels > 1 else SIZE
    return np.random.default_rng(seed).integers(0, 256, shape, np.uint8)


def encode(image, suffix='png', **options):
    if not isinstance(image, Image.Image):
        image = Image.fromarray(image)
    file = io.BytesIO()
    image.save(file, {'jpg': 'JPEG', 'tif': 'TIFF'}.get(suffix, suffix.upper()), **options)
    return file.getvalue()


PHOTOS = {f'{i}.png': encode(pixels(i)) for i in (1, 2, 3)}
PHOTOS |= {f'{i}.jpg': encode(pixels(i), 'jpg') for i in (1, 2, 3)}


def oriented(orientation):
    image = Image.fromarray(pixels())
    exif = image.getexif()
    exif[0x0112] = orientation
    return encode(image, 'jpg', exif=exif)


def huge_png(width, height):
    """A PNG that claims a size and has no pixels."""

    def chunk(name, data):
        check = zlib.crc32(name + data)
        return struct.pack('>I', len(data)) + name + data + struct.pack('>I', check)

    header = struct.pack('>IIBBBBB', width, height, 8, 2, 0, 0, 0)
    rows = chunk(b'IDAT', zlib.compress(b'\0' * 64))
    return b'\x89PNG\r\n\x1a\n' + chunk(b'IHDR', header) + rows + chunk(b'IEND', b'')


def make_images():
    grey, color = Image.fromarray(pixels(1, 1)), Image.fromarray(pixels(2))
    depth = pixels(3, 1).astype(np.uint16) * 200
    transparent = color.convert('RGBA')
    transparent.putalpha(grey)
    return {
        'grey': encode(grey),
        'JPEG': encode(color, 'jpg'),
        'grey JPEG': encode(grey, 'jpg'),
        'CMYK JPEG': encode(color.convert('CMYK'), 'jpg'),
        'palette': encode(color.convert('P')),
        'transparent palette': encode(color.convert('P'), transparency=3),
        'RGBA': encode(transparent),
        'LA': encode(transparent.convert('LA')),
        'one bit': encode(grey.convert('1')),
        '16 bit': encode(depth),
        '16 bit, black': encode(depth * 0),
        '16 bit TIFF': encode(depth, 'tif'),
        '32 bit TIFF': encode(depth.astype(np.int32), 'tif'),
        'float TIFF': encode(np.linspace(0, 1, 40 * 48, dtype=np.float32).reshape(SIZE), 'tif'),
        'float TIFF, NaN': encode(np.full(SIZE, np.nan, np.float32), 'tif'),
        'GIF': encode(color, 'gif'),
        'animated GIF': encode(
            color.convert('P'), 'gif', save_all=True, append_images=[grey.convert('P')] * 2
        ),
        'BMP': encode(color, 'bmp'),
        'WebP': encode(color, 'webp'),
        'EXIF 3': oriented(3),
        'EXIF 6': oriented(6),
        'EXIF 9': oriented(9),
        'tiny': encode(color.resize((1, 1))),
        'narrow': encode(color.resize((200, 3))),
        'small': encode(color.resize((31, 31))),
        'large': encode(color.resize((300, 90))),
        'beyond the limit': huge_png(100_000, 100_000),
        'no pixels': huge_png(48, 40),
        'no size': huge_png(0, 0),
        'text': b'no image',
        'HTML': b'<!DOCTYPE html><html><body>404</body></html>',
        'SVG': b'<svg xmlns="http://www.w3.org/2000/svg" width="48" height="40"/>',
        'LFS pointer': b'version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n',
    }


IMAGES = make_images()


def make_folder(path):
    path.mkdir(exist_ok=True)


def make_dangling_link(path):
    path.symlink_to('nowhere')


def make_circle(path):
    path.symlink_to(path.name)


def make_pipe(path):
    os.mkfifo(path)


def forbid(path):
    path.write_bytes(b'')
    path.chmod(0)


SPECIAL = [make_folder, make_dangling_link, make_circle, make_pipe, forbid]


def change_image(draw, files, name, images=IMAGES):
    """Spoil an image or mask of a case; return what was done, in words."""
    what = draw(st.sampled_from(['image', 'image', 'bytes', 'special', 'missing', 'suffix']))
    if what == 'image':
        kind = draw(st.sampled_from(list(images)))
        files[name] = images[kind]
        return f'{name} is {kind}'
    if what == 'bytes' and isinstance(files[name], bytes):
        files[name], kind = change_bytes(draw, files[name])
        return f'{name}: {kind}'
    if what in ('bytes', 'special'):
        files[name] = draw(st.sampled_from(SPECIAL))
        return f'{name}: {files[name].__name__}'
    content = files.pop(name)
    if what == 'suffix':
        suffix = draw(st.sampled_from(['.PNG', '.jpg', '.JPEG', '.webp', '.txt', '', '.png.png']))
        files[str(Path(name).with_suffix('')) + suffix] = content
        return f'{name} has the suffix {suffix!r}'
    return f'{name} is missing'


NAMES = ['ünï 猫', 'a b', "it's", '.hidden', 'a.b', '-1', '100%', '{x}', '#', 'x' * 200, '\x01']


def draw_changes(draw, change, most=3):
    return [change() for _ in range(draw(st.integers(1, most)))]


# COCO.


def coco_document():
    height, width = SIZE
    return {
        'images': [
            {'id': i, 'file_name': f'{i}.png', 'height': height, 'width': width} for i in (1, 2, 3)
        ],
        'annotations': [
            {
                'id': i,
                'image_id': image,
                'category_id': category,
                'bbox': [x, y, w, h],
                'area': w * h,
                'iscrowd': 0,
            }
            for i, image, category, x, y, w, h in (
                (1, 1, 1, 4, 4, 20, 16),
                (2, 1, 3, 20, 10, 28, 30),
                (3, 2, 1, 0, 0, 48, 40),
                (4, 2, 3, 5.5, 6.5, 12.25, 9.75),
            )
        ],
        'categories': [{'id': 1, 'name': 'cat'}, {'id': 3, 'name': 'dog'}],
    }


@st.composite
def coco_cases(draw):
    document = coco_document()
    values = [*VALUES, *BOXES]
    what = draw(st.sampled_from([*['document'] * 18, 'bytes', 'deep']))
    changes = []
    if what == 'document':
        changes = draw_changes(draw, lambda: change_document(draw, document, values))
    content = json.dumps(document).encode()
    if what == 'deep':
        place = draw(st.sampled_from([b'"images": [', b'"bbox": ', b'"segmentation": [', b'{']))
        depth = draw(st.sampled_from([10, 1_000, 100_000]))
        content = content.replace(place, place + b'[' * depth + b']' * depth + b',', 1)
        changes.append(f'{depth} brackets after {place.decode()}')
    if what == 'bytes' or draw(st.integers(0, 9)) == 0:
        content, change = change_bytes(draw, content)
        changes.append(change)
    files = {f'images/{i}.png': PHOTOS[f'{i}.png'] for i in (1, 2, 3)}
    if draw(st.integers(0, 9)) == 0:
        changes.append(change_image(draw, files, draw(st.sampled_from(list(files)))))
    files['coco.json'] = content
    dataset = {'ann_file': 'coco.json', 'data_prefix': {'img': 'images/'}}
    return Case(files, dataset, changes)


@st.composite
def converter_cases(draw):
    """What the converter of COCO reads: no images, but segmentations."""
    document = coco_document()
    for item in document['annotations']:
        x, y, w, h = item['bbox']
        item['segmentation'] = [[x, y, x + w, y, x + w, y + h, x, y + h]]
    changes = draw_changes(draw, lambda: change_document(draw, document, [*VALUES, *BOXES]))
    content = json.dumps(document).encode()
    return Case({'annotations/instances_train2017.json': content}, changes=changes)


# XML.


def voc_document(name):
    height, width = SIZE
    root = ElementTree.Element('annotation')
    ElementTree.SubElement(root, 'filename').text = f'{name}.jpg'
    size = ElementTree.SubElement(root, 'size')
    for key, value in (('width', width), ('height', height), ('depth', 3)):
        ElementTree.SubElement(size, key).text = str(value)
    for label, corners in (('cat', (5, 5, 24, 20)), ('dog', (20, 10, 48, 40))):
        item = ElementTree.SubElement(root, 'object')
        ElementTree.SubElement(item, 'name').text = label
        ElementTree.SubElement(item, 'difficult').text = '0'
        box = ElementTree.SubElement(item, 'bndbox')
        for key, value in zip(('xmin', 'ymin', 'xmax', 'ymax'), corners, strict=True):
            ElementTree.SubElement(box, key).text = str(value)
    return root


def change_tree(draw, root):
    pairs = [(parent, child) for parent in root.iter() for child in parent]
    if not pairs:
        return 'no elements'
    parent, child = draw(st.sampled_from(pairs))
    what = draw(st.sampled_from(['text', 'text', 'text', 'remove', 'repeat', 'tag', 'everywhere']))
    if what in ('text', 'everywhere'):
        texts = [str(value) for value in NUMBERS] + [t for t in TEXTS if t.isprintable()]
        text = draw(st.sampled_from([None, *texts]))
        for element in root.iter(child.tag) if what == 'everywhere' else [child]:
            element.text = text
        return f'{child.tag} ({what}) = {text!r:.60}'
    if what == 'repeat':
        parent.append(copy.deepcopy(child))
    elif what == 'tag':
        child.tag = draw(st.sampled_from(['xmin', 'object', 'bndbox', 'a', child.tag.upper()]))
    else:
        parent.remove(child)
    return f'{what} {child.tag}'


ENTITIES = (
    b'<?xml version="1.0"?><!DOCTYPE a [<!ENTITY a "1234567890">'
    + b''.join(b'<!ENTITY %c "%s">' % (98 + i, b'&%c;' % (97 + i) * 10) for i in range(9))
    + b']><annotation><filename>&j;</filename></annotation>'
)


@st.composite
def voc_cases(draw):
    files = {f'JPEGImages/{i}.jpg': PHOTOS[f'{i}.jpg'] for i in (1, 2)}
    dataset, changes = {}, []
    for name in ('1', '2'):
        root = voc_document(name)
        if name == '1':
            changes += draw_changes(draw, lambda root=root: change_tree(draw, root))
        content = ElementTree.tostring(root)
        if name == '1':
            what = draw(st.integers(0, 9))
            if what <= 1:
                content, change = change_bytes(draw, content)
                changes.append(change)
            elif what == 2:
                content = draw(
                    st.sampled_from(
                        [
                            ENTITIES,
                            b'<annotation/>',
                            b'<a>' * 2_000 + b'</a>' * 2_000,
                            b"<?xml version='1.0' encoding='UTF-16'?>" + content,
                            b"<?xml version='1.0' encoding='nonsense'?>" + content,
                            content.replace(b'annotation', b'html'),
                        ]
                    )
                )
                changes.append(f'the file is {content[:60]!r}')
        files[f'Annotations/{name}.xml'] = content
    files['train.txt'] = change_list(draw, b'1\n2\n', changes)
    if draw(st.integers(0, 4)) == 0:
        name = draw(st.sampled_from(list(files)))
        changes.append(change_image(draw, files, name))
    dataset = {'ann_file': 'train.txt', 'data_prefix': {'sub_data_root': ''}}
    return Case(files, dataset, changes)


def change_list(draw, content, changes):
    """Return the lines of a list of names, seldom changed."""
    what = draw(st.integers(0, 99))
    lines = {
        0: b'',
        1: b'\n\n',
        2: content.replace(b'\n', b'\r\n'),
        3: b'\xef\xbb\xbf' + content,
        4: content + b'1\n',
        5: content + b'\n',
        6: content.replace(b'1', b'../1'),
        7: content.replace(b'1', b'/etc/passwd'),
        8: content.replace(b'1', b' 1 '),
        9: content.replace(b'1', b'1.png'),
        10: content.decode('latin-1').encode('utf-16'),
        11: b'\xff\xfe\xfd',
        12: content + b'\0',
    }
    if what in lines:
        changes.append(f'the list is {lines[what]!r:.60}')
    return lines.get(what, content)


# Masks.


def make_masks():
    labels = np.zeros(SIZE, np.uint8)
    labels[10:30, 10:40] = 1
    labels[:3] = 255
    beyond, colors = labels.copy(), np.stack([labels] * 3, -1)
    beyond[5:8] = 7
    palette = Image.fromarray(labels)
    palette.putpalette(list(range(256)) * 3)
    return {
        'whole': encode(labels),
        'palette': encode(palette),
        '0 and 255': encode(np.where(labels == 1, 255, 0).astype(np.uint8)),
        'all 0': encode(labels * 0),
        'all 255': encode(labels * 0 + 255),
        'an id beyond': encode(beyond),
        'two bytes': encode(labels.astype(np.uint16)),
        'two bytes, 65535': encode(np.where(labels == 255, 65535, labels).astype(np.uint16)),
        'two bytes, 256': encode(np.where(labels == 1, 256, labels).astype(np.uint16)),
        'int32': encode(labels.astype(np.int32), 'tif'),
        'float': encode(labels.astype(np.float32), 'tif'),
        'float with halves': encode(labels.astype(np.float32) + 0.5, 'tif'),
        'one bit': encode(Image.fromarray(labels == 1)),
        'RGB': encode(colors),
        'RGBA': encode(Image.fromarray(colors).convert('RGBA')),
        'LA': encode(Image.fromarray(colors).convert('LA')),
        'JPEG': encode(labels, 'jpg'),
        'turned': encode(np.ascontiguousarray(labels.T)),
        'half the size': encode(labels[::2, ::2].copy()),
        'one pixel': encode(labels[:1, :1].copy()),
    }


MASKS = make_masks()


@st.composite
def mask_cases(draw):
    files = {}
    for i in (1, 2):
        files[f'images/{i}.jpg'] = PHOTOS[f'{i}.jpg']
        files[f'masks/{i}.png'] = MASKS['whole']
    changes = []
    for _ in range(draw(st.integers(1, 2))):
        what = draw(st.sampled_from(['mask', 'mask', 'mask', 'all', 'image', 'extra', 'list']))
        masks = [name for name in files if name.startswith('masks/')]
        images = [name for name in files if name.startswith('images/')]
        if what == 'mask' and masks:
            name = draw(st.sampled_from(masks))
            changes.append(change_image(draw, files, name, {**MASKS, **IMAGES}))
        elif what == 'all':
            kind = draw(st.sampled_from(list(MASKS)))
            files.update({name: MASKS[kind] for name in masks})
            changes.append(f'all masks are {kind}')
        elif what == 'image' and images:
            changes.append(change_image(draw, files, draw(st.sampled_from(images))))
        elif what == 'extra':
            folder = draw(st.sampled_from(['images', 'masks']))
            name = draw(
                st.sampled_from([*NAMES, 'Thumbs.db', '3.jpg', '3.png', '3.JPG', 'a/3.jpg'])
            )
            files[f'{folder}/{name}'] = draw(st.sampled_from([b'', IMAGES['JPEG'], b'text']))
            changes.append(f'also {folder}/{name}')
        else:
            files['train.txt'] = change_list(draw, b'1\n2\n', changes)
    dataset = {
        'data_prefix': {'img_path': 'images', 'seg_map_path': 'masks'},
        'ann_file': 'train.txt' if 'train.txt' in files else '',
    }
    return Case(files, dataset, changes)


# Images of all tasks.


@st.composite
def image_cases(draw):
    """Images and annotations that say the size of the images."""
    files = {f'images/{i}.png': PHOTOS[f'{i}.png'] for i in (1, 2, 3)}
    changes = draw_changes(
        draw, lambda: change_image(draw, files, draw(st.sampled_from(list(files)))), 2
    )
    document = coco_document()
    if draw(st.booleans()):
        for image in document['images']:
            del image['height'], image['width']
        changes.append('sizes are missing')
    files['coco.json'] = json.dumps(document).encode()
    dataset = {'ann_file': 'coco.json', 'data_prefix': {'img': 'images/'}}
    return Case(files, dataset, changes)


# Class folders.


@st.composite
def folder_cases(draw):
    files = {
        f'train/{name}/{i}.png': PHOTOS[f'{i + k}.png']
        for k, name in enumerate(CLASSES)
        for i in (1, 2)
    }
    dataset, changes = {'ann_file': '', 'data_prefix': 'train'}, []
    for _ in range(draw(st.integers(1, 2))):
        what = draw(st.sampled_from(['image', 'extra', 'rename', 'empty', 'list', 'remove']))
        if what == 'image':
            changes.append(change_image(draw, files, draw(st.sampled_from(list(files)))))
        elif what == 'extra':
            name = draw(st.sampled_from([*NAMES, 'cat/a/b.png', 'cat/x.txt', '__MACOSX/._1.png']))
            name = name if '/' in name else draw(st.sampled_from([name, f'cat/{name}.png']))
            files[f'train/{name}'] = draw(st.sampled_from([b'', IMAGES['JPEG'], b'text']))
            changes.append(f'also {name}')
        elif what == 'rename':
            name = draw(st.sampled_from([*NAMES, 'CAT', 'cta', 'cat ', 'bird']))
            files = {key.replace('/cat/', f'/{name}/'): value for key, value in files.items()}
            changes.append(f'the folder cat is {name!r:.60}')
        elif what == 'empty':
            name = draw(st.sampled_from(['cat', 'bird', '.git']))
            files = {k: v for k, v in files.items() if not k.startswith(f'train/{name}')}
            files[f'train/{name}'] = make_folder
            changes.append(f'the folder {name} is empty')
        elif what == 'remove':
            files = {k: v for k, v in files.items() if '/cat/' not in k} or files
            changes.append('no folder cat')
        else:
            dataset['ann_file'] = 'train.txt'
            content = b'cat/1.png 0\ncat/2.png 0\ndog/1.png 1\ndog/2.png 1\n'
            old = draw(st.sampled_from([b' 1', b' 0', b'cat', b'.png', b'\n', b'']))
            new = draw(st.sampled_from([b'', b' 2', b' -1', b' x', b'\t1', b' 1.0', b'/', b'\xff']))
            if old:
                content = content.replace(old, new, 1)
                changes.append(f'{old!r} in the list is {new!r}')
            files['train.txt'] = change_list(draw, content, changes)
    return Case(files, dataset, changes)


# Config values.

SETTINGS = [
    'metainfo',
    'metainfo.classes',
    'ann_file',
    'data_prefix',
    'data_root',
    'indices',
    'filter_cfg',
    'test_mode',
    'img_suffix',
    'seg_map_suffix',
    'ignore_index',
    'reduce_zero_label',
    'extensions',
    'with_label',
    'backend_args',
    'unknown',
    'pipeline',
]
SETTING_VALUES = [
    *(None, '', 'cat', 'nowhere', '/', 'images', 'coco.json', 0, 1, -1, 3.5, 255, True, False),
    *([], {}, ('cat',), ['cat', 'dog'], ('dog', 'cat'), ('cat', 'cat'), ('cat', 'dgo'), (1, 2)),
    *(
        ('cat', None),
        ('', ' '),
        ('.jpg', '.png'),
        ['.png'],
        '.png',
        'png',
        '.PNG',
        [0],
        [99],
        (-1,),
    ),
    *({'classes': 'cat'}, {'classes': ()}, {'classes': ('cat',)}, {'img': None}, {'img': ''}),
    *({'img': 'nowhere'}, {'filter_empty_gt': 'yes'}, {'min_size': 'a'}, {'img_path': 3}),
    *(float('nan'), 10**30, 'x' * 300, '\0', 'ünï', {'classes': None}, {'classes': ('cat', 'cow')}),
]


@st.composite
def setting_cases(draw):
    """A whole data set of one of the tasks with other settings."""
    task = draw(st.sampled_from(['coco', 'voc', 'masks', 'folders']))
    case = whole(task)
    for _ in range(draw(st.integers(1, 2))):
        name = draw(st.sampled_from(SETTINGS))
        value = draw(st.sampled_from(SETTING_VALUES))
        if name == 'pipeline':  # an empty one is whole, and loads nothing
            value = value or 'nothing'
        case.dataset[name] = value
        case.changes.append(f'{name} = {value!r:.60}')
    return task, case


def whole(task):
    """Return a data set without a fault."""
    images = {f'images/{i}.png': PHOTOS[f'{i}.png'] for i in (1, 2, 3)}
    if task == 'coco':
        files = {**images, 'coco.json': json.dumps(coco_document()).encode()}
        return Case(files, {'ann_file': 'coco.json', 'data_prefix': {'img': 'images/'}})
    if task == 'voc':
        files = {f'JPEGImages/{i}.jpg': PHOTOS[f'{i}.jpg'] for i in (1, 2)}
        for i in (1, 2):
            files[f'Annotations/{i}.xml'] = ElementTree.tostring(voc_document(str(i)))
        files['train.txt'] = b'1\n2\n'
        return Case(files, {'ann_file': 'train.txt', 'data_prefix': {'sub_data_root': ''}})
    if task == 'masks':
        files = {f'images/{i}.jpg': PHOTOS[f'{i}.jpg'] for i in (1, 2)}
        files.update({f'masks/{i}.png': MASKS['whole'] for i in (1, 2)})
        return Case(
            files,
            {'data_prefix': {'img_path': 'images', 'seg_map_path': 'masks'}, 'ann_file': ''},
        )
    files = {f'train/{name}/{i}.png': PHOTOS[f'{i}.png'] for name in CLASSES for i in (1, 2)}
    return Case(files, {'ann_file': '', 'data_prefix': 'train'})


def clear(root):
    """Remove what is in a folder."""
    for path in Path(root).iterdir():
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()
