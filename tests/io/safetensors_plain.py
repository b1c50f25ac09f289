"""safetensors read and written with nothing but NumPy, independently of Tuff's own code and strictly by
the format's description; a script prints what a file holds (with the official package where it is installed).

    safetensors_plain.py FILE      one line for each tensor: name, dtype, shape, CRC-32 of its bytes
"""
import json
import os
import sys
import zlib

TYPES = {"F32": "<f4", "F64": "<f8", "I32": "<i4", "I64": "<i8"}


def read(path):
    import numpy

    with open(path, "rb") as file:
        length = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(length).decode("utf-8"))
        data = file.read()
    header.pop("__metadata__", None)
    tensors, at = {}, 0
    for name, entry in sorted(header.items(), key=lambda item: item[1]["data_offsets"]):
        begin, end = entry["data_offsets"]
        assert begin == at, name
        assert (8 + length + begin) % 4 == 0, name
        tensors[name] = numpy.frombuffer(data[begin:end], TYPES[entry["dtype"]]).reshape(entry["shape"])
        at = end
    assert at == len(data), "the file goes on after its last tensor"
    return tensors


def write(path, tensors):
    header, blobs, at = {"__metadata__": {"format": "pt"}}, [], 0
    for name, array in tensors.items():
        dtype = next(k for k, v in TYPES.items() if v == array.dtype.newbyteorder("<").str)
        blob = array.tobytes()
        header[name] = {"dtype": dtype, "shape": list(array.shape), "data_offsets": [at, at + len(blob)]}
        blobs.append(blob)
        at += len(blob)
    text = json.dumps(header).encode()
    with open(path, "wb") as file:
        file.write(len(text).to_bytes(8, "little") + text + b"".join(blobs))


if __name__ == "__main__":
    try:
        import numpy
    except ImportError:
        sys.exit(77)
    reader = "a reader of its own"
    try:
        from safetensors.numpy import load_file as load

        reader = "the safetensors package"
    except ImportError:
        load = read
    found = load(sys.argv[1])
    out = open(sys.argv[2], "w") if len(sys.argv) > 2 else sys.stdout
    for name in sorted(found):
        array = found[name]
        shape = ",".join(str(size) for size in array.shape)
        print(name, array.dtype.name, "[" + shape + "]", "%08x" % zlib.crc32(array.tobytes()), file=out)
    print("[  PYTHON  ] %s opened %s" % (reader, os.path.basename(sys.argv[1])))
