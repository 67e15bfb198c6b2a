"""ResNet-34 with learned log-sum-exp pooling (Yao et al. 2018, arXiv 1803.07703), maps of 32×32."""

from jaxcxr.runs.experiment import Config, default_config


def get_config() -> Config:
    """Returns this study's recipe with the paper's pooling on a feature pyramid.

    Of the paper is r = r0 + exp(β) with a learned β, here one for all findings. Its value of r0,
    its network for several resolutions and its training were not published as code and could not
    be checked: r0 is this library's (docs/localization.md), the rest this study's.
    """
    config = default_config()
    config.model.head.name = "LogSumExp"
    config.model.head.stride = 8
    config.model.head.learned = "shared"
    return config
