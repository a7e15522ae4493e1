//! A program that becomes a part of a box, as gantry itself does; the tests of the engine start it.

fn main() {
    gantry_adapters::engine::native::enter_if_asked();
    eprintln!("this program is for the tests of the native engine");
    std::process::exit(2);
}
