//! The console and the migrations are compiled in: a change of either builds this crate again.

fn main() {
    // There from the first build on, or cargo would take an absent folder for one that always changes.
    let _ = std::fs::create_dir_all("../web/dist");
    println!("cargo:rerun-if-changed=../web/dist");
    println!("cargo:rerun-if-changed=../migrations");
}
