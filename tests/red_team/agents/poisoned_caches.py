"""Leaves something in every cache that it finds a place for, for whoever fetches from
it next; and looks whether somebody else's is in sight."""
import os
import pathlib

home = pathlib.Path.home()
places = {
    home / place
    for place in (
        ".cache/pip", ".cache/uv", ".cache/yarn", ".cache/go-build", ".npm/_cacache", ".cargo/registry",
        "go/pkg/mod", ".m2/repository", ".gradle/caches", ".yarn/berry", ".local/share/pnpm/store",
    )
}
for variable in ("CARGO_HOME", "GOMODCACHE", "GRADLE_USER_HOME", "PNPM_HOME", "npm_config_cache"):
    places.add(pathlib.Path(os.environ[variable]))
for place in sorted(places):
    if (place / "of-the-user").exists():
        print("REACHED the user's", place)
    if (place / "red-team-poison").exists():
        print("FOUND", place.relative_to(home))
    try:
        place.mkdir(parents=True, exist_ok=True)
        (place / "red-team-poison").write_text("poison")
    except OSError as error:
        print(place, error)
print("TRIED")
