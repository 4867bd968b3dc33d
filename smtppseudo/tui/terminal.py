"""The terminal: Textual's driver for POSIX, which also survives odd input, a lost terminal, and Ctrl-Z anywhere."""

import os
import selectors
import signal
import sys
from codecs import getincrementaldecoder
from functools import partial
from typing import Any, Final, TextIO

from textual._xterm_parser import XTermParser
from textual.drivers.linux_driver import LinuxDriver

_READ_BYTES: Final = 4096
_TICK_S: Final = 0.1  # how often an incomplete escape sequence, and the end, are looked for
_FAILED: Final = 1  # the exit status when the terminal is gone


class _Output:
    """The terminal as a file. Once it is gone, /dev/null takes its place: Textual's writer must not fail."""

    def __init__(self, file: TextIO) -> None:
        self._file = file

    def fileno(self) -> int:
        return self._file.fileno()

    def write(self, text: str) -> None:
        try:
            self._file.write(text)
        except OSError:
            self._abandon()

    def flush(self) -> None:
        try:
            self._file.flush()
        except OSError:
            self._abandon()

    def _abandon(self) -> None:
        os.dup2(os.open(os.devnull, os.O_WRONLY), self._file.fileno())


class TerminalDriver(LinuxDriver):
    """Textual's driver with its own reading of input and its own suspending."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        # Textual would draw on standard error, which may be redirected to a file. This is the terminal for certain.
        stdout: Any = sys.__stdout__
        stdout.reconfigure(errors="replace")
        self._file: Any = _Output(stdout)

    def write(self, data: str) -> None:
        """Write to the terminal, except while another program has it."""
        if self._writer_thread is not None and self._writer_thread.is_alive():
            super().write(data)

    def run_input_thread(self) -> None:
        """Read input until `exit_event` is set. At the end of file, which means that the terminal is gone, leave.

        Bytes that are not UTF-8 are ignored, and so is a sequence at which Textual's parser fails.
        """
        decoder = getincrementaldecoder("utf-8")("ignore")
        parser = XTermParser(self._debug)
        with selectors.SelectSelector() as selector:
            selector.register(self.fileno, selectors.EVENT_READ)
            while not self.exit_event.is_set():
                text = ""
                if selector.select(_TICK_S):
                    data = self._read()
                    if not data:
                        self._leave()
                        return
                    text = decoder.decode(data)
                for character in text or [""]:
                    try:
                        for event in parser.feed(character) if character else parser.tick():
                            self.process_message(event)
                    except Exception:  # noqa: BLE001 - such as ZeroDivisionError, for the size of a window
                        parser = XTermParser(self._debug)

    def _read(self) -> bytes:
        try:
            return os.read(self.fileno, _READ_BYTES)
        except OSError:
            return b""

    def _leave(self) -> None:
        self._loop.call_soon_threadsafe(partial(self._app.exit, return_code=_FAILED))

    # LinuxDriver makes these two the handlers of SIGTSTP and SIGCONT. What they do must wait for the end of a callback
    # of the loop: a handler may interrupt a write to the terminal, which holds a lock.

    def _sigtstp_application(self, *_: object) -> None:
        if self._auto_restart:
            self._loop.call_soon_threadsafe(self._suspend)
        else:  # another program has the terminal, and this one waits for it
            self._stop_process()

    def _sigcont_application(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._resume)

    def _suspend(self) -> None:
        self.suspend_application_mode()
        self._must_signal_resume = True
        self._stop_process()
        self._resume()

    def _stop_process(self) -> None:
        """Stop this process as its signal would. Without a shell that could continue it, this does nothing."""
        signal.signal(signal.SIGTSTP, signal.SIG_DFL)
        signal.raise_signal(signal.SIGTSTP)
        signal.signal(signal.SIGTSTP, self._sigtstp_application)

    def _resume(self) -> None:
        """Show the screen again, if it is not shown. In the background this stops the process again."""
        if self._is_shown():
            return
        for _ in range(2):  # the first time it may be stopped, and do nothing else after it was continued
            self.resume_application_mode()
            if self._is_shown():
                self._app.refresh(layout=True)
                return
        self._leave()

    def _is_shown(self) -> bool:
        return self._key_thread is not None and self._key_thread.is_alive()
