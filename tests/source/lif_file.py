"""Leica's LIF by hand from its public description: blocks of 0x70, length, 0x2A; XML in UTF-16; then memories of raw voxels."""

from __future__ import annotations

import struct

_ELEMENT = """<Element Name="{name}" Visibility="1"><Data><Image><ImageDescription><Channels>{channels}</Channels>
<Dimensions>{dimensions}</Dimensions></ImageDescription></Image></Data><Memory Size="{n_bytes}" MemoryBlockID="{memory}"/>
<Children/></Element>"""
_CHANNEL = """<ChannelDescription DataType="0" ChannelTag="0" Resolution="{bits}" NameOfMeasuredQuantity="" Min="0" Max="1"
Unit="" LUTName="{name}" IsLUTInverted="0" BytesInc="{step}" BitInc="0"/>"""
_DIMENSION = """<DimensionDescription DimID="{id}" NumberOfElements="{n}" Origin="0" Length="{length}" Unit="m" BitInc="0"
BytesInc="{step}"/>"""


def write_lif(path, scenes, size_nm):
    """scenes: name -> CZYX. Every channel is a stack of its own in the memory of its scene; z runs downwards (Length < 0)."""
    elements, memories = "", b""
    for number, (name, czyx) in enumerate(scenes.items()):
        n_channels, *shape = czyx.shape
        steps = czyx.strides[1:]
        channels = "".join(
            _CHANNEL.format(bits=8 * czyx.itemsize, name=("Green", "Red")[c], step=c * czyx.strides[0]) for c in range(n_channels)
        )
        lengths = [nm * (n - 1) * 1e-9 for nm, n in zip(size_nm, shape, strict=True)]
        dimensions = "".join(
            _DIMENSION.format(id=3 - axis, n=shape[axis], length=(-1 if axis == 0 else 1) * lengths[axis], step=steps[axis])
            for axis in (2, 1, 0)
        )
        memory = f"MemBlock_{number}"
        elements += _ELEMENT.format(name=name, channels=channels, dimensions=dimensions, n_bytes=czyx.nbytes, memory=memory)
        text = memory.encode("utf-16-le")
        rest = struct.pack("<BQBI", 0x2A, czyx.nbytes, 0x2A, len(memory)) + text
        memories += struct.pack("<II", 0x70, len(rest)) + rest + czyx.tobytes()
    xml = f"""<LMSDataContainerHeader Version="2"><Element Name="{path.stem}" Visibility="1"><Data/><Memory Size="0"
MemoryBlockID="MemBlock_x"/><Children>{elements}</Children></Element></LMSDataContainerHeader>"""
    header = xml.encode("utf-16-le")
    path.write_bytes(struct.pack("<IIBI", 0x70, len(header) + 5, 0x2A, len(xml)) + header + memories)
