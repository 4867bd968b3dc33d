"""Access lists of directories on Windows, where file modes mean nothing. What makes their texts (SDDL) is pure."""

import hashlib
import stat
import struct
import sys
from pathlib import Path
from typing import Final

SERVICE: Final = "smtppseudo"
SYSTEM: Final = "S-1-5-18"
ADMINISTRATORS: Final = "S-1-5-32-544"
MODIFY: Final = "0x1301bf"
READ: Final = "0x1200a9"


def service_sid(name: str) -> str:
    """Return the SID of a service, as `sc showsid` prints it: the SHA-1 of its name in upper case."""
    digest = hashlib.sha1(name.upper().encode("utf-16-le"), usedforsecurity=False).digest()
    return "S-1-5-80-" + "-".join(map(str, struct.unpack("<5I", digest)))


def access_list(service_rights: str, user: str = SYSTEM) -> str:
    """Return the SDDL of a directory for SYSTEM, Administrators, the user and the service. It inherits no entries."""
    rights = {user: "FA", SYSTEM: "FA", ADMINISTRATORS: "FA", service_sid(SERVICE): service_rights}
    return "D:PAI" + "".join(f"(A;OICI;{right};;;{sid})" for sid, right in rights.items())


if sys.platform == "win32":
    import ctypes

    _advapi32 = ctypes.WinDLL("advapi32", use_last_error=True)
    _kernel32 = ctypes.WinDLL("kernel32")
    _FILE_OBJECT, _OWNER, _PROTECTED_DACL = 1, 1, 4 | 0x80000000
    _TOKEN, _TOKEN_USER = ctypes.c_void_p(-4), 1  # GetCurrentProcessToken()

    def make_private(path: Path, sddl: str = "") -> None:
        """Close a directory to all but those in `sddl`, by default this user and the service. Raises OSError.

        Any user can make a directory in ProgramData: one of another owner, or a link, is refused. The service itself
        changes nothing: it may not, and the install has done it.
        """
        user, service = _user_sid(), service_sid(SERVICE)
        if user == service and not sddl:
            return
        if path.lstat().st_file_attributes & stat.FILE_ATTRIBUTE_REPARSE_POINT:
            raise OSError(0, "it is a link, which may lead anywhere; remove it")
        owner, found, descriptor, dacl, flag = (ctypes.c_void_p() for _ in range(5))
        by_name = (str(path), _FILE_OBJECT)
        to_owner = (ctypes.byref(owner), None, None, None, ctypes.byref(found))
        if code := _advapi32.GetNamedSecurityInfoW(*by_name, _OWNER, *to_owner):
            raise error_of(code)
        is_foreign = _text_of(owner) not in (user, service, SYSTEM, ADMINISTRATORS)
        _kernel32.LocalFree(found)
        if is_foreign:
            raise OSError(0, "it belongs to another user, who may have put anything there; remove it")
        to_descriptor = _advapi32.ConvertStringSecurityDescriptorToSecurityDescriptorW
        _require(to_descriptor(sddl or access_list(MODIFY, user), 1, ctypes.byref(descriptor), None))
        _advapi32.GetSecurityDescriptorDacl(descriptor, ctypes.byref(flag), ctypes.byref(dacl), ctypes.byref(flag))
        code = _advapi32.SetNamedSecurityInfoW(*by_name, _PROTECTED_DACL, None, None, dacl, None)
        _kernel32.LocalFree(descriptor)
        if code:
            raise error_of(code)

    def _user_sid() -> str:
        user = ctypes.create_string_buffer(128)
        _require(_advapi32.GetTokenInformation(_TOKEN, _TOKEN_USER, user, 128, ctypes.byref(ctypes.c_ulong())))
        return _text_of(ctypes.c_void_p.from_buffer(user))

    def _text_of(sid: ctypes.c_void_p) -> str:
        pointer = ctypes.c_wchar_p()
        _require(_advapi32.ConvertSidToStringSidW(sid, ctypes.byref(pointer)))
        text = pointer.value or ""
        _kernel32.LocalFree(pointer)
        return text

    def error_of(code: int) -> OSError:
        """Return the error with a code of Windows and its text."""
        return ctypes.WinError(code, ctypes.FormatError(code).strip(" ."))

    def _require(result: int) -> None:
        if not result:
            raise error_of(ctypes.get_last_error())
