//! A registry of Python, npm and Rust packages, each with one package, `greeting`:
//! a tree of files, as the registries' index formats lay them out.

use countersign_testkit::upstream::{Reply, Upstream};
use std::path::Path;
use std::process::Command;

const MAKE: &str = r#"
import base64, hashlib, io, json, os, sys, tarfile, zipfile
ROOT, HOST = sys.argv[1], 'https://packages.example'
def put(path, data):
    path = os.path.join(ROOT, path)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    open(path, 'wb').write(data.encode() if isinstance(data, str) else data)
def tar(files):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode='w:gz') as t:
        for name, text in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(text)
            t.addfile(info, io.BytesIO(text.encode()))
    return out.getvalue()
# The simple index of PEP 503, and a wheel.
wheel = io.BytesIO()
with zipfile.ZipFile(wheel, 'w') as z:
    z.writestr('greeting.py', 'WORD = "hello from pip"\n')
    z.writestr('greeting-1.0.dist-info/METADATA', 'Metadata-Version: 2.1\nName: greeting\nVersion: 1.0\n')
    z.writestr('greeting-1.0.dist-info/WHEEL', 'Wheel-Version: 1.0\nGenerator: t\nRoot-Is-Purelib: true\nTag: py3-none-any\n')
    z.writestr('greeting-1.0.dist-info/RECORD', 'greeting.py,,\ngreeting-1.0.dist-info/METADATA,,\ngreeting-1.0.dist-info/WHEEL,,\ngreeting-1.0.dist-info/RECORD,,\n')
wheel, name = wheel.getvalue(), 'greeting-1.0-py3-none-any.whl'
put('files/' + name, wheel)
put('simple/greeting/index.html', f'<!DOCTYPE html><a href="{HOST}/files/{name}#sha256={hashlib.sha256(wheel).hexdigest()}">{name}</a>')
# A packument and a tarball.
tgz = tar({'package/package.json': '{"name":"greeting","version":"1.0.0"}', 'package/index.js': 'module.exports = "hello from npm"\n'})
put('npm/greeting/-/greeting-1.0.0.tgz', tgz)
put('npm/greeting/index.html', json.dumps({'name': 'greeting', 'dist-tags': {'latest': '1.0.0'}, 'versions': {'1.0.0': {
    'name': 'greeting', 'version': '1.0.0', 'dist': {'tarball': f'{HOST}/npm/greeting/-/greeting-1.0.0.tgz',
    'integrity': 'sha512-' + base64.b64encode(hashlib.sha512(tgz).digest()).decode()}}}}))
# A sparse index and a crate.
crate = tar({'greeting-1.0.0/Cargo.toml': '[package]\nname = "greeting"\nversion = "1.0.0"\nedition = "2021"\n', 'greeting-1.0.0/src/lib.rs': ''})
put('crates/dl/greeting/1.0.0/download', crate)
put('crates/config.json', json.dumps({'dl': HOST + '/crates/dl'}))
put('crates/gr/ee/greeting', json.dumps({'name': 'greeting', 'vers': '1.0.0', 'deps': [], 'cksum': hashlib.sha256(crate).hexdigest(), 'features': {}, 'yanked': False}) + '\n')
"#;

/// Writes the tree.
pub(crate) fn make(folder: &Path) {
    let made = Command::new("/usr/bin/python3")
        .args(["-c", MAKE])
        .arg(folder)
        .status()
        .unwrap();
    assert!(made.success());
}

/// Serves it.
pub(crate) fn serve(host: &str, folder: &Path) -> Upstream {
    let folder = folder.to_owned();
    Upstream::start(host, move |seen| {
        let mut file = folder.join(seen.path().trim_matches('/'));
        if file.is_dir() {
            file = file.join("index.html");
        }
        let Ok(content) = std::fs::read(&file) else {
            return Reply::status(404);
        };
        let kind = match file.extension().and_then(|e| e.to_str()) {
            Some("html") if seen.path().starts_with("/npm/") => "application/json",
            Some("html") => "text/html",
            _ => "application/octet-stream",
        };
        let mut reply = Reply::status(200).with("content-type", kind);
        reply.body = content;
        reply
    })
    .unwrap()
}
