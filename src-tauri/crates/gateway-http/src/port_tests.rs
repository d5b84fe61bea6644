use super::*;
use crate::whose::{is_own, owner, spelled};
use std::net::{SocketAddrV4, TcpListener as Blocking, UdpSocket};
use std::os::unix::fs::MetadataExt as _;
use std::time::Duration;
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;
use tokio::time::timeout;

fn me() -> u32 {
    std::fs::metadata("/proc/self").unwrap().uid()
}

async fn handed_over(sockets: Vec<OwnedFd>, contained: bool, uid: u32) -> io::Result<Ports> {
    Checked::handed_over(sockets, contained, uid).await?.open()
}

fn listener() -> Blocking {
    Blocking::bind("127.0.0.1:0").unwrap()
}

#[tokio::test]
async fn what_is_not_a_tcp_listener_on_loopback_is_not_served() {
    use rustix::net::{AddressFamily, SocketType, ipproto, socket};
    let unbound = socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
    let bound = socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
    let any = "127.0.0.1:0".parse::<SocketAddrV4>().unwrap();
    rustix::net::bind(&bound, &any).unwrap();
    let open = listener();
    let connected = std::net::TcpStream::connect(open.local_addr().unwrap()).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let unix = std::os::unix::net::UnixListener::bind(folder.path().join("socket")).unwrap();
    let mut wrong: Vec<(&str, OwnedFd)> = vec![
        ("a file", tempfile::tempfile().unwrap().into()),
        ("UDP", UdpSocket::bind("127.0.0.1:0").unwrap().into()),
        ("a Unix socket", unix.into()),
        ("a connection", connected.into()),
        ("unbound", unbound),
        ("not listening", bound),
        ("every address", Blocking::bind("0.0.0.0:0").unwrap().into()),
    ];
    if let Ok(six) = Blocking::bind("[::1]:0") {
        wrong.push(("IPv6", six.into()));
    }
    // Another protocol under the same kind of socket, where the kernel has it.
    let multipath = socket(
        AddressFamily::INET,
        SocketType::STREAM,
        Some(ipproto::MPTCP),
    );
    if let Ok(multipath) = multipath {
        rustix::net::bind(&multipath, &any).unwrap();
        rustix::net::listen(&multipath, 1).unwrap();
        wrong.push(("multipath TCP", multipath));
    }
    for (what, socket) in wrong {
        let port = handed_over(vec![socket], true, me()).await;
        assert!(port.is_err(), "{what}: {port:?}");
    }
}

#[tokio::test]
async fn a_port_in_this_network_is_for_its_user_whatever_is_said_of_the_run() {
    for contained in [true, false] {
        let port = handed_over(vec![listener().into()], contained, 7).await;
        assert_eq!(port.unwrap().callers, Callers::Only(7), "{contained}");
    }
}

#[tokio::test]
async fn in_this_network_no_port_is_taken_but_the_proxys() {
    let everywhere = || Blocking::bind("0.0.0.0:0").unwrap();
    for (what, sockets) in [
        ("nothing", vec![]),
        ("two proxies", vec![listener(), listener()]),
        ("a host's port alone", vec![everywhere()]),
        ("a host's port too", vec![listener(), everywhere()]),
    ] {
        let sockets = sockets.into_iter().map(OwnedFd::from).collect();
        let refused = handed_over(sockets, true, me()).await.unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::InvalidInput, "{what}");
    }
    // Where the tests may have that port.
    if let Ok(questions) = UdpSocket::bind("127.0.0.1:53") {
        let sockets = vec![listener().into(), questions.into()];
        assert!(handed_over(sockets, true, me()).await.is_err());
    }
}

#[tokio::test]
async fn whoever_keeps_a_copy_and_makes_it_block_holds_up_nobody() {
    let socket = listener();
    let address = socket.local_addr().unwrap();
    let copy = socket.try_clone().unwrap();
    let mut port = handed_over(vec![socket.into()], false, me()).await.unwrap();
    for blocking in [true, false, true] {
        copy.set_nonblocking(!blocking).unwrap();
        let _client = TcpStream::connect(address).await.unwrap();
        port.accept().await.unwrap();
        // On this very thread: would it be held up, it could not tell the time.
        let waiting = timeout(Duration::from_millis(50), port.accept()).await;
        assert!(waiting.is_err());
    }
    drop(port);
    let refused = async {
        while TcpStream::connect(address).await.is_ok() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(Duration::from_secs(5), refused).await.unwrap();
}

#[tokio::test]
async fn a_process_of_the_user_is_let_in_and_one_of_another_is_closed() {
    for (uid, admitted) in [(me(), true), (me() + 1, false)] {
        let socket = listener();
        let address = socket.local_addr().unwrap();
        let mut port = handed_over(vec![socket.into()], false, uid).await.unwrap();
        let mut client = TcpStream::connect(address).await.unwrap();
        let accepted = timeout(Duration::from_secs(1), port.accept()).await;
        assert_eq!(accepted.is_ok(), admitted);
        if admitted {
            assert!(accepted.unwrap().unwrap().0.nodelay().unwrap());
        } else {
            assert!(matches!(client.read(&mut [0]).await, Ok(0) | Err(_)));
        }
    }
}

#[tokio::test]
async fn a_connection_is_not_lost_when_nobody_waits_while_its_owner_is_looked_up() {
    let socket = listener();
    let address = socket.local_addr().unwrap();
    let mut port = handed_over(vec![socket.into()], false, me()).await.unwrap();
    let _clients = [
        TcpStream::connect(address).await.unwrap(),
        TcpStream::connect(address).await.unwrap(),
    ];
    let mut accepted = Vec::new();
    for _ in 0..100_000 {
        // Given up at its first pause, each time.
        tokio::select! { biased;
            stream = port.accept() => accepted.push(stream.unwrap()),
            () = tokio::task::yield_now() => {}
        }
        if accepted.len() == 2 {
            return;
        }
    }
    panic!("only {} came", accepted.len());
}

#[tokio::test]
async fn the_kernel_says_whose_a_loopback_connection_is() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap())
        .await
        .unwrap();
    let (server, _) = listener.accept().await.unwrap();
    let [peer, local] = [client.local_addr(), server.local_addr()].map(|at| at.unwrap());
    let [ours, theirs] = [local, peer].map(|at| spelled(at, false));
    let now = table("tcp").await.unwrap();
    assert_eq!(owner(&now, &theirs, &ours), Some(me()));
    let another = spelled(SocketAddr::new(peer.ip(), 1), false);
    assert_eq!(owner(&now, &another, &ours), None);
    // The kernel lists what a process has closed as root's.
    drop(client);
    let now = table("tcp").await.unwrap();
    assert_eq!(owner(&now, &theirs, &ours), None);
}

#[tokio::test]
async fn a_socket_of_ipv6_that_comes_to_an_address_of_ipv4_is_its_users_too() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let to = (Ipv4Addr::LOCALHOST.to_ipv6_mapped(), port);
    let client = TcpStream::connect(to).await.unwrap();
    let (server, peer) = listener.accept().await.unwrap();
    let local = server.local_addr().unwrap();
    assert!(client.local_addr().unwrap().is_ipv6() && peer.is_ipv4());
    assert!(is_of_user(me(), &server, peer, local).await);
    assert!(!is_of_user(me() + 1, &server, peer, local).await);
    drop(client);
    assert!(!is_of_user(me(), &server, peer, local).await);
}

#[tokio::test]
async fn a_connection_that_was_reset_is_not_taken_for_the_one_in_its_place() {
    use rustix::net::{AddressFamily, SocketType, bind, connect, socket, sockopt};
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = listener.local_addr().unwrap();
    // From the same port: the first is reset before it is looked at.
    let client = |from: SocketAddr| {
        let client = socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
        sockopt::set_socket_reuseaddr(&client, true).unwrap();
        sockopt::set_socket_linger(&client, Some(Duration::ZERO)).unwrap();
        bind(&client, &from).unwrap();
        connect(&client, &at).unwrap();
        client
    };
    let first = client("127.0.0.1:0".parse().unwrap());
    let (server, peer) = listener.accept().await.unwrap();
    drop(first);
    let _second = client(peer);
    let local = server.local_addr().unwrap();
    assert!(!is_of_user(me(), &server, peer, local).await);
    let (server, peer) = listener.accept().await.unwrap();
    assert!(is_of_user(me(), &server, peer, local).await);
}

#[tokio::test]
async fn a_port_is_this_processs_own_as_long_as_it_listens_there() {
    let mut all = vec![listener(), Blocking::bind("0.0.0.0:0").unwrap()];
    all.extend(Blocking::bind("[::1]:0"));
    for listener in all {
        let port = listener.local_addr().unwrap().port();
        assert!(is_own(port).await.unwrap(), "{listener:?}");
        drop(listener);
        assert!(!is_own(port).await.unwrap());
    }
}
