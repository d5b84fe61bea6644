use super::*;
use crate::store::memory::Memory;
use std::sync::atomic::AtomicUsize;

const LIMIT: Duration = Duration::from_millis(150);

fn start(memory: &Memory) -> StoreThread {
    let memory = memory.clone();
    StoreThread::start(move || Ok(memory.items()), LIMIT, LIMIT, LIMIT, || {}).unwrap()
}
fn list(items: &mut Items) -> Result<usize, VaultError> {
    items.list().map(|l| l.len())
}

#[tokio::test]
async fn a_store_that_hangs_is_given_up_and_later_calls_are_refused_at_once() {
    let memory = Memory::default();
    let thread = start(&memory);
    memory.with(|s| s.delay = Duration::from_millis(600));
    assert_eq!(thread.call(list).await, Err(VaultError::TimedOut));
    memory.with(|s| s.delay = Duration::ZERO);
    for _ in 0..1000 {
        assert_eq!(thread.call(list).await, Err(VaultError::TimedOut));
    }
    assert_eq!(memory.with(|s| s.calls), 1);
    tokio::time::sleep(Duration::from_millis(600)).await;
    assert_eq!(thread.call(list).await, Ok(0));
}

#[tokio::test]
async fn a_call_that_was_given_up_before_it_began_is_never_made() {
    let memory = Memory::default();
    let thread = start(&memory);
    memory.with(|s| s.delay = Duration::from_millis(400));
    let made = Arc::new(AtomicUsize::new(0));
    let hang = thread.clone();
    let first = tokio::spawn(async move { hang.call(list).await });
    tokio::time::sleep(Duration::from_millis(50)).await;
    let count = Arc::clone(&made);
    let op = move |_: &mut Items| {
        count.fetch_add(1, Ordering::SeqCst);
        Ok(())
    };
    assert_eq!(thread.call(op.clone()).await, Err(VaultError::TimedOut));
    let blocking = thread.clone();
    let refused = tokio::task::spawn_blocking(move || blocking.call_blocking(op))
        .await
        .unwrap();
    assert_eq!(refused, Err(VaultError::TimedOut));
    assert_eq!(first.await.unwrap(), Err(VaultError::TimedOut));
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(made.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn a_panic_in_the_store_is_an_error_and_the_next_call_works() {
    // Patient: printing where it panicked takes a while on a busy machine.
    const PATIENT: Duration = Duration::from_secs(60);
    let memory = Memory::default();
    let items = memory.clone();
    let open = move || Ok(items.items());
    let thread = StoreThread::start(open, PATIENT, PATIENT, PATIENT, || {}).unwrap();
    memory.with(|s| s.panic_once = true);
    assert!(matches!(
        thread.call(list).await,
        Err(VaultError::Internal(_))
    ));
    assert_eq!(thread.call(list).await, Ok(0));
    assert_eq!(thread.call_blocking(list), Ok(0));
}

#[test]
fn opening_that_hangs_or_fails_says_so() {
    let slow = || {
        std::thread::sleep(Duration::from_secs(1));
        Err(VaultError::Locked)
    };
    let started = StoreThread::start(slow, LIMIT, LIMIT, LIMIT, || {});
    assert_eq!(started.err(), Some(VaultError::TimedOut));
    let started = StoreThread::start(
        || Err(VaultError::WrongPassphrase),
        LIMIT,
        LIMIT,
        LIMIT,
        || {},
    );
    assert_eq!(started.err(), Some(VaultError::WrongPassphrase));
}

#[test]
fn it_rests_once_after_the_last_call() {
    let rests = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&rests);
    let short = Duration::from_millis(20);
    let rest = move || {
        count.fetch_add(1, Ordering::SeqCst);
    };
    let thread =
        StoreThread::start(|| Ok(Memory::default().items()), LIMIT, LIMIT, short, rest).unwrap();
    thread.call_blocking(list).unwrap();
    std::thread::sleep(Duration::from_millis(200));
    assert_eq!(rests.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn after_a_call_that_hung_one_at_a_time_tries_again_and_the_rest_are_refused_at_once() {
    let memory = Memory::default();
    let thread = start(&memory);
    memory.with(|s| s.fail = Some(VaultError::TimedOut));
    assert_eq!(thread.call(list).await, Err(VaultError::TimedOut));
    memory.with(|s| s.delay = Duration::from_millis(100));
    for _ in 0..1000 {
        assert_eq!(thread.call(list).await, Err(VaultError::TimedOut));
    }
    assert_eq!(memory.with(|s| s.calls), 1);
    tokio::time::sleep(PAUSE).await;
    memory.with(|s| s.fail = None);
    let trial = thread.clone();
    let trial = tokio::spawn(async move { trial.call(list).await });
    tokio::time::sleep(Duration::from_millis(30)).await;
    assert_eq!(thread.call(list).await, Err(VaultError::TimedOut));
    assert_eq!(trial.await.unwrap(), Ok(0));
    assert_eq!(thread.call(list).await, Ok(0));
}
