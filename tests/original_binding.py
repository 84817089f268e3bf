"""An imitation of the earlier library's Python binding: one file, which loads the library
that lies beside it and makes the calls of the C interface, in the ways that matter. The
handles of callers and dispatchers have no declared type, so they are C ints on their way
here; a value is a pickle of `op_size` bytes, and what follows it is left to the unpickler to
ignore; arguments are their length in 8 bytes, the pickled positional ones, and the pickled
ones by name. Nothing here knows of our library."""

import ctypes
import os
import pickle
import sys

_library = ctypes.CDLL(os.path.join(os.path.dirname(os.path.abspath(__file__)), "librobot_ipc.so"))
_callback = ctypes.CFUNCTYPE(ctypes.c_void_p, ctypes.c_void_p)
_pointer, _size, _text = ctypes.c_void_p, ctypes.c_size_t, ctypes.c_char_p

_library.link_host_variable.restype = _pointer
_library.link_host_variable.argtypes = [_text, _size]
_library.read_host_variable.argtypes = [_pointer, _pointer, _size, _size]
_library.write_host_variable.argtypes = [_pointer, _pointer, _size, _size]
_library.unlink_host_variable.argtypes = [_pointer, _text, _size]
# No restype from here on: an int of C.
_library.link_host_function.argtypes = [_text, _size, _size]
_library.unlink_host_function.argtypes = [_pointer]
_library.call_host_function.argtypes = [_pointer, _pointer]
_library.get_response_host_function.argtypes = [_pointer, _pointer]
_library.create_host_function_dispatcher.argtypes = [_size]
_library.delete_host_function_dispatcher.argtypes = [_pointer]
_library.attach_host_function.argtypes = [_pointer, _text, _callback, _size, _size]
_library.start_host_function_dispatcher.argtypes = [_pointer]

LENGTH_SIZE = 8


class HostVariable:
    def __init__(self, name, max_size=4096):
        self._name, self._size = name.encode(), max_size
        self._buffer = ctypes.create_string_buffer(max_size)
        self._handle = _library.link_host_variable(self._name, max_size)
        if not self._handle:
            raise RuntimeError("cannot link variable " + name)

    def __del__(self):
        if self._handle and _library.unlink_host_variable(self._handle, self._name, self._size):
            raise RuntimeError("cannot unlink a variable")

    @property
    def data(self):
        _library.read_host_variable(self._handle, self._buffer, self._size, self._size)
        try:
            return pickle.loads(self._buffer)
        except Exception:
            return None

    @data.setter
    def data(self, value):
        pickled = pickle.dumps(value)
        if len(pickled) > self._size:
            raise RuntimeError("too large")
        _library.write_host_variable(self._handle, pickled, self._size, len(pickled))


class HostFunctionCaller:
    def __init__(self, name, max_arg_size=4096, max_ret_size=4096):
        self._argument_size = max_arg_size
        self._buffer = ctypes.create_string_buffer(max(max_arg_size, max_ret_size))
        self._handle = _library.link_host_function(name.encode(), max_arg_size, max_ret_size)
        if not self._handle:
            raise RuntimeError("cannot link function " + name)

    def __del__(self):
        if self._handle and _library.unlink_host_function(self._handle):
            raise RuntimeError("cannot unlink a function")

    def __call__(self, *positional, **named):
        first, second = pickle.dumps(positional), pickle.dumps(named)
        block = len(first).to_bytes(LENGTH_SIZE, sys.byteorder) + first + second
        if len(block) > self._argument_size:
            raise RuntimeError("too large")
        # What was there before stays behind it.
        ctypes.memmove(self._buffer, block, len(block))
        _library.call_host_function(self._handle, self._buffer)

    def get_response(self):
        _library.get_response_host_function(self._handle, self._buffer)
        return pickle.loads(self._buffer)


class HostFunctionDispatcher:
    def __init__(self, max_func_count=16):
        self._kept, self._response = [], None
        self._handle = _library.create_host_function_dispatcher(max_func_count)
        if not self._handle:
            raise RuntimeError("cannot create a dispatcher")

    def __del__(self):
        if self._handle and _library.delete_host_function_dispatcher(self._handle):
            raise RuntimeError("cannot delete a dispatcher")

    def attach(self, name, function, max_sz_args=4096, max_sz_ret=4096):
        def run(address):
            # All of them, however many were sent.
            block = memoryview((ctypes.c_char * max_sz_args).from_address(address))
            end = LENGTH_SIZE + int.from_bytes(block[:LENGTH_SIZE], sys.byteorder)
            result = function(
                *pickle.loads(block[LENGTH_SIZE:end]), **pickle.loads(block[end:])
            )
            if result is None:
                return None
            pickled = pickle.dumps(result)
            if len(pickled) > max_sz_ret:
                raise RuntimeError("too large")
            # As many bytes as the library reads.
            self._response = ctypes.create_string_buffer(pickled, max_sz_ret)
            return ctypes.addressof(self._response)

        callback = _callback(run)
        self._kept.append(callback)
        if _library.attach_host_function(
            self._handle, name.encode(), callback, max_sz_args, max_sz_ret
        ):
            raise RuntimeError("cannot attach " + name)

    def start(self):
        _library.start_host_function_dispatcher(self._handle)
