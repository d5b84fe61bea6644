"""Connects to everything that listens for the user: buses, displays, keyrings, engines."""
import glob, os, socket, subprocess, sys

runtime = f"/run/user/{os.getuid()}"
known = sys.argv[1:] + [f"{runtime}/bus", f"{runtime}/keyring/control", f"{runtime}/wayland-0",
    f"{runtime}/pipewire-0", f"{runtime}/docker.sock", f"{runtime}/podman/podman.sock", "/var/run/docker.sock",
    "/run/dbus/system_bus_socket", "/tmp/.X11-unix/X0", f"/tmp/tmux-{os.getuid()}/default", "/run/pcscd/pcscd.comm",
    "/run/containerd/containerd.sock", "/run/snapd.socket", "/run/systemd/private"]
for path in known + glob.glob("/tmp/**", recursive=True) + glob.glob("/run/**", recursive=True):
    if path == "/run/countersign/gateway.sock":
        continue
    try:
        with socket.socket(socket.AF_UNIX) as s:
            s.connect("\0" + path[1:] if path.startswith("@") else path)
            print("REACHED", path)
    except OSError:
        pass
for name in ("/tmp/.X11-unix/X0", "/tmp/.X11-unix/X99", "/tmp/dbus-x", "/com/ubuntu/upstart"):
    try:
        with socket.socket(socket.AF_UNIX) as s:
            s.connect("\0" + name)
            print("REACHED abstract", name)
    except OSError:
        pass
for family in (40, 38, 17, 15, 31, 29):  # vsock, alg, packet, key, bluetooth, can
    try:
        socket.socket(family, socket.SOCK_STREAM if family != 17 else socket.SOCK_RAW).close()
        print("REACHED family", family)
    except OSError:
        pass
for words in (["secret-tool", "search", "--all", "a", "b"], ["busctl", "--user", "list"], ["ssh-add", "-l"],
              ["docker", "ps"], ["tmux", "ls"], ["xdpyinfo"], ["notify-send", "x"], ["systemd-run", "--user", "true"]):
    try:
        if subprocess.run(words, capture_output=True, timeout=10).returncode == 0:
            print("REACHED", *words)
    except (OSError, subprocess.TimeoutExpired):
        pass
print("TRIED")
