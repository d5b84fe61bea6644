"""Uses the product's own program, which lies in the run as its init: to approve, to
accept, to resume, to stop, to be a second authority, to begin a run of its own."""
import os, subprocess

program = "/run/countersign/init"
for words in (["config", "accept"], ["credential", "list"], ["resume"], ["status"], ["requests"], ["stop"],
              ["timeline"], ["shutdown"], ["run", "--agent", "inbox-bot", "--", "true"],
              ["run", "--uncontained", "--agent", "inbox-bot", "--", "true"], ["ledger", "verify"]):
    try:
        done = subprocess.run([program] + words, capture_output=True, timeout=20, stdin=subprocess.DEVNULL)
        if done.returncode == 0:
            print("REACHED", *words)
    except subprocess.TimeoutExpired:
        print("REACHED", *words, "waits")
# A second authority may start in here: it holds nothing and nobody asks it.
own = dict(os.environ, COUNTERSIGN_HOME=os.path.abspath("second"), XDG_RUNTIME_DIR="/tmp")
second = subprocess.Popen([program, "serve"], env=own, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
for words in (["credential", "list"], ["status"]):
    done = subprocess.run([program] + words, env=own, capture_output=True, timeout=20)
    if b"mail" in done.stdout or b"inbox-bot" in done.stdout:
        print("REACHED second", *words)
second.kill()
print("TRIED")
