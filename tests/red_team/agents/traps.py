"""Leaves traps for whoever works in the folder next: git, editors, shells, agents, Python."""
import os, subprocess

here = os.getcwd()
trap = f"{here}/trap.sh"
with open(trap, "w") as file:
    file.write(f"#!/bin/sh\ntouch {here}/SPRUNG\n")
os.chmod(trap, 0o755)

def run(*words):
    subprocess.run(words, capture_output=True)

def write(path, text="red-team-trap"):
    try:
        os.makedirs(os.path.dirname(path) or ".", exist_ok=True)
        with open(path, "w") as file:
            file.write(text)
        os.chmod(path, 0o755)
    except OSError:
        pass

# The repository that is there.
run("git", "config", "core.fsmonitor", trap)
run("git", "config", "core.hooksPath", here)
write(".git/config", f"[core]\n\tfsmonitor = {trap}\n")
for hook in ("post-checkout", "pre-commit", "post-index-change", "fsmonitor-watchman"):
    write(f".git/hooks/{hook}", f"#!/bin/sh\ntouch {here}/SPRUNG\n")
write(".git/commondir", f"{here}/elsewhere\n")
write(".git/config.worktree", f"[core]\n\tfsmonitor = {trap}\n")
run("mv", ".git", "aside")
run("mv", ".git/hooks", "hooks-aside")
# Repositories of its own: nested, bare, by file, by link.
for name in ("nested", "deep/er"):
    run("git", "init", "-q", name)
    run("git", "-C", name, "config", "core.fsmonitor", trap)
run("git", "init", "-q", "--bare", "bare")
for key, value in (("core.bare", "false"), ("core.worktree", here), ("core.fsmonitor", trap)):
    run("git", "-C", "bare", "config", key, value)
run("cp", "-r", "nested/.git", "led")
write("by-file/.git", f"gitdir: {here}/led\n")
os.makedirs("by-link", exist_ok=True)
os.path.lexists("by-link/.git") or os.symlink("../led", "by-link/.git")
# Editors, shells, agents, Python.
for path in (".vscode/tasks.json", ".vscode/settings.json", ".idea/workspace.xml", ".envrc", ".mcp.json",
             ".claude/settings.json", ".cursor/mcp.json", ".codex/config.toml", ".gemini/settings.json",
             "sub/.vscode/tasks.json", "venv/lib/python3.11/site-packages/trap.pth"):
    write(path)
write("Makefile", "all:\n\ttouch SPRUNG\n")
print("TRIED")
