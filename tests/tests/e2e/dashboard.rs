//! The dashboard, in a real browser. Skipped, and said so, where no Chromium is installed.
//!
//! `WEIR_PICTURES=FOLDER` keeps pictures of the page.

use std::{
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    time::Duration,
};

use weir_tests::{
    Conn, Origin, Reply, Weir,
    browser::{Page, installed},
};

fn browser() -> Option<PathBuf> {
    let found = installed();
    if found.is_none() {
        eprintln!("skipped: no chromium is installed (apt-get install chromium)");
    }
    found
}

async fn keep(page: &mut Page, name: &str) {
    if let Some(folder) = std::env::var_os("WEIR_PICTURES") {
        page.picture(&PathBuf::from(folder).join(name)).await;
    }
}

/// Some traffic, until it is told to stop.
fn traffic(weir: &Weir) -> (Arc<AtomicBool>, tokio::task::JoinHandle<()>) {
    let (stop, address) = (Arc::new(AtomicBool::new(false)), weir.addr());
    let stopping = Arc::clone(&stop);
    let asking = tokio::spawn(async move {
        let mut connection = Conn::open(address).await;
        while !stopping.load(SeqCst) {
            connection.get("/").await;
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    });
    (stop, asking)
}

/// The dashboard of `weir`, in a window of this size.
async fn dashboard(chromium: &Path, weir: &Weir, size: (u32, u32), dark: bool) -> Page {
    let mut page = Page::open(chromium, size, dark).await;
    page.visit(&format!("http://{}/", weir.admin.address()))
        .await;
    page
}

async fn is_ready(page: &mut Page) {
    page.until("document.querySelector('#phase').innerText === 'ready'")
        .await;
}

/// Types over what is in an input field.
async fn write(page: &mut Page, field: &str, text: &str) {
    page.value(&format!("document.getElementById('{field}').select()"))
        .await;
    page.type_text(text).await;
}

/// Presses a button with the keyboard.
async fn press_button(page: &mut Page, button: &str) {
    page.value(&format!("document.getElementById('{button}').focus()"))
        .await;
    page.press("Enter").await;
}

async fn click(page: &mut Page, button: &str) {
    page.value(&format!("document.getElementById('{button}').click()"))
        .await;
}

/// The dialog that shows a change before it is applied.
async fn dialog_opens(page: &mut Page) {
    page.until("document.getElementById('change-dialog').open")
        .await;
}

async fn dialog_closes(page: &mut Page) {
    page.until("!document.getElementById('change-dialog').open")
        .await;
}

/// Drains the first server or puts it back, and waits until its badge says `state`.
async fn switch_first_server(page: &mut Page, state: &str) {
    click(page, "server-api-0").await;
    dialog_opens(page).await;
    click(page, "change-apply").await;
    page.until(&format!(
        "document.querySelector('#servers-table .badge').innerText === '{state}'"
    ))
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_setting_is_edited_traffic_changes_and_the_override_is_put_back() {
    let Some(chromium) = browser() else { return };
    let (a, b) = (
        Origin::named("a").await,
        Origin::answering(Reply::text("b")).await,
    );
    let weir = Weir::before(&[&a, &b])
        .with(
            "route = [{ upstream = 'api', rate_limit = ['z'] }]
             rate_limit.z = { rate = '1r/m', burst = 100000, nodelay = true }",
        )
        .start()
        .await;
    let (stop, asking) = traffic(&weir);
    let mut page = dashboard(&chromium, &weir, (1280, 2400), false).await;
    is_ready(&mut page).await;
    page.until("document.querySelectorAll('#servers-table tbody tr').length === 2")
        .await;
    page.until("document.querySelectorAll('figure svg').length === 4")
        .await;
    page.until("parseFloat(document.querySelector('#tiles dd').innerText) > 0")
        .await;

    // By keyboard alone: find the setting, change it, look at the difference, apply.
    write(&mut page, "find", "z.burst").await;
    page.until("document.querySelectorAll('#settings-table tbody tr').length === 1")
        .await;
    write(&mut page, "set-rate_limit.z.burst", "many").await;
    page.until("!document.getElementById('preview').disabled")
        .await;
    press_button(&mut page, "preview").await;
    dialog_opens(&mut page).await;
    page.until("document.getElementById('change-wrong').innerText.includes('0 to 1000000')")
        .await;
    assert_eq!(
        page.value("document.getElementById('change-apply').disabled")
            .await,
        true
    );
    page.press("Escape").await;
    dialog_closes(&mut page).await;
    write(&mut page, "set-rate_limit.z.burst", "0").await;
    press_button(&mut page, "preview").await;
    page.until("document.getElementById('change-what').innerText.includes('100000 → 0')")
        .await;
    keep(&mut page, "dialog.png").await;
    page.value("document.getElementById('ttl').value = '1m'")
        .await;
    press_button(&mut page, "change-apply").await;
    dialog_closes(&mut page).await;

    // Traffic is limited now, and the page shows why and for how long.
    page.until("document.querySelector('#limits-table .bad')")
        .await;
    page.until(
        "document.querySelector('#overrides-table').innerText.includes('rate_limit.z.burst = 0')",
    )
    .await;
    assert_eq!(weir.admin.settings().await["rate_limit"]["z"]["burst"], 0);
    page.value("document.getElementById('find').value = ''")
        .await;
    page.value("document.getElementById('find').dispatchEvent(new Event('input'))")
        .await;
    keep(&mut page, "light.png").await;
    page.value("document.querySelector('#overrides-table button').click()")
        .await;
    page.until("document.querySelector('#overrides-table').innerText.includes('None')")
        .await;
    assert_eq!(
        weir.admin.settings().await["rate_limit"]["z"]["burst"],
        100_000
    );

    // A server is drained and put back.
    switch_first_server(&mut page, "down").await;
    switch_first_server(&mut page, "up").await;

    // And everything goes back to the first revision.
    click(&mut page, "back-1").await;
    dialog_opens(&mut page).await;
    page.press("Escape").await;
    stop.store(true, SeqCst);
    asking.await.unwrap();
    // The browser itself notes that the bad value was refused.
    let own: Vec<_> = page
        .errors
        .iter()
        .filter(|e| !e.contains("status of 422"))
        .collect();
    assert!(own.is_empty(), "{own:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_override_expires_before_the_eyes_and_a_phone_can_read_it() {
    let Some(chromium) = browser() else { return };
    let a = Origin::named("a").await;
    let weir = Weir::before(&[&a]).start().await;
    let (stop, asking) = traffic(&weir);
    let mut page = dashboard(&chromium, &weir, (390, 844), true).await;
    is_ready(&mut page).await;
    weir.admin
        .override_for(
            "2s",
            serde_json::json!({"upstream": {"api": {"keepalive": 7}}}),
        )
        .await;
    page.until("document.querySelector('#overrides-table').innerText.includes('keepalive = 7')")
        .await;
    page.until("document.querySelector('#overrides-table').innerText.includes('None')")
        .await;
    page.until("document.querySelector('#revisions-table').innerText.includes('7 → 32')")
        .await;
    let too_wide = "document.documentElement.scrollWidth > window.innerWidth";
    assert_eq!(page.value(too_wide).await, false, "no sideways scrolling");
    let back = page
        .value("getComputedStyle(document.body).backgroundColor")
        .await;
    assert_eq!(back, "rgb(16, 21, 28)", "dark");
    keep(&mut page, "phone-dark.png").await;
    stop.store(true, SeqCst);
    asking.await.unwrap();
    assert!(page.errors.is_empty(), "{:?}", page.errors);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_page_asks_for_a_token_where_one_is_needed() {
    let Some(chromium) = browser() else { return };
    let a = Origin::named("a").await;
    let dir = tempfile::tempdir().unwrap();
    let tokens = dir.path().join("tokens.toml");
    let made = weir_tests::process::run(
        "weir",
        &[
            "token",
            "new",
            "eve",
            "--file",
            &tokens.display().to_string(),
        ],
    )
    .await;
    let token = made.stdout.trim().to_owned();
    let weir = Weir::before(&[&a])
        .with(&format!("admin.tokens = '{}'", tokens.display()))
        .start()
        .await;
    let mut page = dashboard(&chromium, &weir, (1000, 800), false).await;
    page.until("document.getElementById('token-dialog').open")
        .await;
    write(&mut page, "token", &token).await;
    page.press("Enter").await;
    is_ready(&mut page).await;
    page.until("document.querySelectorAll('#servers-table tbody tr').length === 1")
        .await;
    // The refusals before the token came are the only errors, and they are the browser's own.
    let foreign: Vec<_> = page.errors.iter().filter(|e| !e.contains("401")).collect();
    assert!(foreign.is_empty(), "{foreign:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn health_checks_are_switched_on_in_the_page_which_shows_what_they_find() {
    let Some(chromium) = browser() else { return };
    let a = Origin::named("a").await;
    let weir = Weir::before(&[&a]).start().await;
    let mut page = Page::open(&chromium, (1280, 1600), false).await;
    page.visit(&format!("http://{}/", weir.admin.address()))
        .await;
    // A setting that has no value yet has its place too.
    page.until("document.getElementById('set-upstream.api.health_check.path')")
        .await;
    page.value("document.getElementById('set-upstream.api.health_check.path').focus()")
        .await;
    page.type_text("/health").await;
    page.until("!document.getElementById('preview').disabled")
        .await;
    page.value("document.getElementById('preview').click()")
        .await;
    page.until("document.getElementById('change-what').innerText.includes('/health')")
        .await;
    page.until("!document.getElementById('change-apply').disabled")
        .await;
    page.value("document.getElementById('change-apply').click()")
        .await;
    page.until("document.querySelector('#servers-table').innerText.includes('answered 200')")
        .await;
    keep(&mut page, "health.png").await;
    assert!(page.errors.is_empty(), "{:?}", page.errors);
}
