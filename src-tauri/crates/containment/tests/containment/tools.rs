//! What agents work with works in a run: the wall is no use if it is taken down.

use crate::stage::Stage;
use std::path::Path;
use std::process::Command;

#[test]
fn python_works_with_threads_processes_sockets_and_files() {
    let stage = Stage::new();
    let script = r#"
import asyncio, concurrent.futures, multiprocessing, os, select, shutil, socket, sqlite3
import subprocess, tempfile, threading, mmap, fcntl, pathlib, signal
def square(n): return n * n
if __name__ == "__main__":
    with concurrent.futures.ThreadPoolExecutor(8) as pool: assert sum(pool.map(square, range(9))) == 204
    with multiprocessing.Pool(2) as pool: assert pool.map(square, [3, 4]) == [9, 16]
    lock = multiprocessing.Lock(); lock.acquire(); lock.release()
    assert subprocess.check_output(["sh", "-c", "echo hi | tr h j"]) == b"ji\n"
    async def echo():
        async def serve(r, w): w.write(await r.readline()); await w.drain(); w.close()
        for server in (await asyncio.start_server(serve, "127.0.0.1", 0), await asyncio.start_unix_server(serve, "echo.sock")):
            name = server.sockets[0].getsockname()
            r, w = await (asyncio.open_unix_connection(name) if isinstance(name, str) else asyncio.open_connection(*name))
            w.write(b"x\n"); assert await r.readline() == b"x\n"; w.close()
    asyncio.run(echo())
    db = sqlite3.connect("a.db"); db.execute("pragma journal_mode=wal"); db.execute("create table t(x)"); db.commit()
    os.mkfifo("fifo"); os.symlink("a.db", "link"); shutil.copytree(".", tempfile.mkdtemp() + "/copy", ignore=shutil.ignore_patterns("fifo", "*.sock"))
    pathlib.Path("a.db").rename("b.db"); pathlib.Path("sub").mkdir(); pathlib.Path("b.db").rename("sub/b.db")
    signal.setitimer(signal.ITIMER_REAL, 0.01); signal.sigwait([signal.SIGALRM]) if signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGALRM]) is not None else None
    print("works")
"#;
    stage.write(&stage.folder.join("work.py"), script);
    let ran = stage.run(&["python3", "work.py"]);
    assert_eq!(ran.output, "works\n", "{ran:?}");
}

#[test]
fn node_works_with_workers_processes_servers_and_files() {
    let stage = Stage::new();
    let script = r#"
const { Worker } = require("worker_threads"), fs = require("fs"), http = require("http"), cp = require("child_process"), crypto = require("crypto");
(async () => {
  const answer = await new Promise((done, failed) => {
    const worker = new Worker("require('worker_threads').parentPort.postMessage(6 * 7)", { eval: true });
    worker.on("message", done); worker.on("error", failed);
  });
  if (answer !== 42) throw answer;
  if (cp.execFileSync("sh", ["-c", "echo hi"]).toString() !== "hi\n") throw "child";
  const server = http.createServer((_, reply) => reply.end("ok"));
  await new Promise((done) => server.listen(0, "127.0.0.1", done));
  const text = await (await fetch(`http://127.0.0.1:${server.address().port}/`)).text();
  server.close();
  fs.mkdirSync("a/b", { recursive: true }); fs.writeFileSync("a/b/c", "x"); fs.cpSync("a", "d", { recursive: true });
  fs.watch("a").close(); fs.rmSync("a", { recursive: true });
  await new Promise((done) => crypto.pbkdf2("p", "s", 10, 32, "sha256", done));
  console.log(text, fs.readFileSync("d/b/c", "utf8"));
})();
"#;
    stage.write(&stage.folder.join("work.js"), script);
    let ran = stage.run(&["node", "work.js"]);
    assert_eq!(ran.output, "ok x\n", "{ran:?}");
}

#[test]
fn git_the_shell_and_the_usual_tools_work() {
    let stage = Stage::new();
    let ran = stage.shell(
        "set -e; git init -q -b main .; git config user.name n; git config user.email e@example.com; \
         echo one > file; git add file; git commit -qm one; git checkout -qb side; echo two >> file; \
         git commit -qam two; git checkout -q main; git merge -q side; git stash list; git gc -q; \
         git clone -q . ../clone 2>/dev/null || git clone -q . /tmp/clone; \
         mkfifo pipe; (cat pipe > out &); tar cf - file | gzip > pipe; sleep 0.1; gzip -dc out | tar tf -; \
         find . -name file | xargs grep -c two; git log --oneline | wc -l",
    );
    assert_eq!(ran.output, "file\n1\n2\n", "{ran:?}");
}

#[test]
fn a_c_program_can_be_built_and_run() {
    let stage = Stage::new();
    let program = r#"
#include <pthread.h>
#include <stdio.h>
#include <unistd.h>
#include <sys/wait.h>
static void *work(void *n) { return n; }
int main(void) {
    pthread_t thread; void *back;
    if (pthread_create(&thread, 0, work, "works") || pthread_join(thread, &back)) return 1;
    int child = fork(), status;
    if (child == 0) _exit(3);
    if (waitpid(child, &status, 0) != child || WEXITSTATUS(status) != 3) return 2;
    return puts(back) < 0;
}
"#;
    stage.write(&stage.folder.join("work.c"), program);
    let ran = stage
        .shell("cc -O1 -pthread -o work work.c && ./work && cc -static -o still work.c && ./still");
    assert_eq!(ran.output, "works\nworks\n", "{ran:?}");
}

/// With a tool chain in the user's home folder, as rustup puts it.
#[test]
fn a_rust_program_can_be_built_and_run_by_a_tool_chain_of_the_home_folder() {
    let stage = Stage::new();
    let sysroot = Command::new("rustc").args(["--print", "sysroot"]).output();
    let sysroot = String::from_utf8(sysroot.unwrap().stdout).unwrap();
    let chain = stage.home.join(".rustup/toolchains/here");
    stage.make_folder(&chain);
    copy_tool_chain(Path::new(sysroot.trim()), &chain);
    stage.write(
        &stage.folder.join("Cargo.toml"),
        "[package]\nname = \"work\"\nversion = \"0.0.0\"\nedition = \"2021\"\n",
    );
    let program = "fn main() { std::thread::spawn(|| println!(\"works\")).join().unwrap() }";
    stage.write(&stage.folder.join("src/main.rs"), program);
    let ran = stage.shell(&format!(
        "export PATH={}/bin:$PATH; cargo run -q --offline",
        chain.display()
    ));
    assert_eq!(ran.output, "works\n", "{ran:?}");
}

/// Links where it can: a tool chain is large.
fn copy_tool_chain(from: &Path, to: &Path) {
    for part in ["bin", "lib"] {
        let copied = |how: &str| {
            let words = [how, "--no-preserve=ownership"];
            let mut copy = Command::new("cp");
            copy.args(words).arg(from.join(part)).arg(to);
            copy.output().unwrap()
        };
        if !copied("-al").status.success() {
            let again = copied("-a");
            assert!(again.status.success(), "{again:?}");
        }
    }
}
