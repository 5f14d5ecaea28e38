"""The video stream of an output, and the encoder that fills it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from av.codec import CodecContext
from av.codec.context import Flags, ThreadType

from facexcli.media.hardware import device_of
from facexcli.media.hdr import template_header

if TYPE_CHECKING:
    from fractions import Fraction

    from av.container import OutputContainer

    from facexcli.media.encoders import EncoderChoice, VideoFormat


def add_video(
    container: OutputContainer, video: VideoFormat, choice: EncoderChoice, tick_s: Fraction
) -> tuple[Any, Any]:
    """(a new stream of `container`, the encoder of its packets), whose time stamps count in `tick_s`.

    Most encoders are opened when the container's header is written; with HDR10 metadata the encoder is opened here, and
    the stream made from a template that has them.
    """
    os.environ.setdefault("SVT_LOG", "1")  # SVT-AV1 writes to stderr by itself; errors only
    device = device_of(choice.encoder)
    with_hdr = video.hdr.is_static and container.format.name != "avi"
    siting = choice.color.chroma_location
    template = template_header(choice.codec, video.hdr, video.width_px, video.height_px, siting) if with_hdr else None
    if template is None:
        stream: Any = container.add_stream(
            choice.encoder, rate=video.frame_rate, options=dict(choice.options), hwaccel=device
        )
        encoder = stream.codec_context
        _prepare(encoder, video, choice, tick_s, container.format.name)
    else:
        with template:
            stream = container.add_stream_from_template(template.streams.video[0], opaque=True)
        encoder = CodecContext.create(choice.encoder, "w", device)
        _prepare(encoder, video, choice, tick_s, container.format.name)
        encoder.options = dict(choice.options)
        encoder.flags |= Flags.global_header
        encoder.open()
        header = stream.codec_context
        _describe(header, video, choice, container.format.name)
        header.codec_tag, header.extradata = encoder.codec_tag, encoder.extradata
    stream.time_base = tick_s
    if video.display_matrix:
        stream.set_display_matrix(video.display_matrix)
    return stream, encoder


def _prepare(encoder: Any, video: VideoFormat, choice: EncoderChoice, tick_s: Fraction, container: str) -> None:
    _describe(encoder, video, choice, container)
    encoder.time_base = tick_s
    encoder.thread_type = ThreadType.AUTO  # slices alone would cost x264 quality and speed
    encoder.flags |= Flags.frame_duration


def _describe(context: Any, video: VideoFormat, choice: EncoderChoice, container: str) -> None:
    """Say what the pictures are, to an encoder or in a stream's header."""
    context.width, context.height, context.pix_fmt = video.width_px, video.height_px, choice.pix_fmt
    context.framerate = video.frame_rate
    if choice.codec == "hevc" and container in ("mp4", "mov"):
        context.codec_tag = "hvc1"  # players of Apple take no other
    context.sample_aspect_ratio = video.sample_aspect_ratio
    context.color_primaries, context.color_trc = choice.color.primaries, choice.color.transfer
    context.colorspace, context.color_range = choice.color.matrix, choice.color.range


__all__ = ["add_video"]
