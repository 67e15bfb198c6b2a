"""What all tests share."""

import signal

# A shell's background jobs ignore Ctrl-C, as do the programs they start; the tests send it to some.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
