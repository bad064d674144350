import pytest
import torch
from conftest import SEG_CONFIGS, options
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmseg.apis import MMSegInferencer
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample

from edgenext_mm.analysis.logs import read_scalars

DEMO = SEG_CONFIGS / 'deeplabv3_edgenext_xx_small_demo.py'


def test_sizes_do_not_mix():
    """A prediction is that of the image alone, whatever else is in the batch."""
    init_default_scope('mmseg')
    torch.manual_seed(0)
    cfg = Config.fromfile(DEMO)
    model = MODELS.build(cfg.model).eval()
    shapes = [(64, 96), (96, 64), (64, 96), (80, 80)]
    images = [torch.randint(256, (3, *shape), dtype=torch.uint8) for shape in shapes]
    samples = [SegDataSample(metainfo=dict(img_shape=s, ori_shape=s)) for s in shapes]
    with torch.no_grad():
        for step in (model.val_step, model.test_step):
            together = step(dict(inputs=images, data_samples=samples))
            for sample, image, shape in zip(together, images, shapes, strict=True):
                (alone,) = step(dict(inputs=[image], data_samples=None))
                assert sample.pred_sem_seg.shape == shape
                torch.testing.assert_close(sample.seg_logits.data, alone.seg_logits.data)


def test_inferencer_in_batches(demo_data):
    segmentor = MMSegInferencer(str(DEMO), device='cpu')
    images = sorted(map(str, (demo_data / 'val2017').iterdir()))[:4]
    one, four = (segmentor(images, batch_size=n)['predictions'] for n in (1, 4))
    assert len({x.shape for x in one}) > 1
    for left, right in zip(one, four, strict=True):
        assert left.shape == right.shape and (left == right).mean() > 0.99


@pytest.mark.slow
def test_validation_in_batches(run_tool, tmp_path):
    settings = {'train_dataloader.batch_size': 2, 'train_cfg.val_interval': 1}
    settings |= {'train_cfg.max_iters': 1, 'default_hooks.logger.interval': 1}
    scores = []
    for batch_size in (1, 4):
        work_dir = tmp_path / f'{batch_size}'
        batches = {'val_dataloader.batch_size': batch_size, 'randomness.seed': 0}
        run_tool('train.py', DEMO, f'--work-dir={work_dir}', *options(settings | batches))
        scores.append(read_scalars(work_dir)[1][1]['mIoU'])
    assert scores[0] == pytest.approx(scores[1], abs=0.01)
