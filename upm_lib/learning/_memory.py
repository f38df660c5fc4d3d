"""Keep freed memory for the next step instead of handing it back to the system (Linux, glibc).

A training step allocates and frees hundreds of megabytes. By default glibc returns large blocks to
the kernel at once and asks for them again a moment later, and every page of them has to be cleared:
about a fifth of a step of the demo on two cores, more for larger networks. The process then keeps
the memory of its largest step; results do not change. On other systems nothing is done.
"""

import ctypes
import platform

M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_MAX = -1, -2, -4  # from glibc's malloc.h

if platform.libc_ver()[0] == "glibc":
    _mallopt = ctypes.CDLL(None).mallopt
    _mallopt(M_MMAP_MAX, 0)
    _mallopt(M_TRIM_THRESHOLD, 2**31 - 1)
    _mallopt(M_TOP_PAD, 2**26)
