"""Forks twice, in sessions of its own, deaf to signals, woken by timers; and beats."""
import os, signal, sys, time

beats, count = sys.argv[1], int(sys.argv[2])
for sig in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT, signal.SIGTSTP, signal.SIGTTIN, signal.SIGTTOU):
    signal.signal(sig, signal.SIG_IGN)
for number in range(count):
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            signal.signal(signal.SIGALRM, lambda *_: os.kill(-1, signal.SIGCONT))
            signal.setitimer(signal.ITIMER_REAL, 0.05, 0.05)
            while True:
                with open(f"{beats}/{number}", "w") as file:
                    file.write(str(time.time()))
                time.sleep(0.02)
        os._exit(0)
print("TRIED", flush=True)
while True:
    time.sleep(1)
