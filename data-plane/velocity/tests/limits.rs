//! What a template cannot do to its host.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

use std::fmt::Write;

use serde_json::{Map, Value, json};
use velocity::{Error, ErrorKind, Excess, Limits, Options, Program, Progress, Render};

const LIMITS: Limits = Limits {
    steps: 2_000_000,
    memory_bytes: 1 << 20,
    output_bytes: 1 << 16,
    iterations: 1000,
    excess: Excess::End,
};

/// Renders in slices, on a small stack; gives the most memory that was seen, too.
fn render(template: &str, limits: Limits) -> Result<(String, usize), Error> {
    let template = template.to_owned();
    let thread = std::thread::Builder::new().stack_size(256 << 10);
    let run = move || {
        let program = Program::parse(&template, Options::VELOCITY)?;
        let context = Map::new();
        let mut render = Render::new(&program, &context, limits);
        let (mut out, mut most) = (String::new(), 0);
        while render.run(&mut out, 500)? == Progress::Yielded {
            most = most.max(render.used_bytes());
            assert!(render.steps() <= limits.steps && out.len() <= limits.output_bytes);
        }
        Ok((out, most))
    };
    thread.spawn(run).unwrap().join().unwrap()
}

fn kind(template: &str) -> ErrorKind {
    render(template, LIMITS).unwrap_err().kind
}

fn nested(open: &str, within: &str, close: &str, times: usize) -> String {
    format!("{}{within}{}", open.repeat(times), close.repeat(times))
}

#[test]
fn a_loop_in_a_loop_ends_by_its_steps() {
    let four = "#foreach($i in [1..1000])".repeat(4) + "x" + &"#end".repeat(4);
    let limits = Limits { output_bytes: 1 << 30, ..LIMITS };
    assert_eq!(render(&four, limits).unwrap_err().kind, ErrorKind::Steps);
}

#[test]
fn a_huge_range_is_not_spelled_out() {
    let template =
        "#set($r = [-2147483648..2147483647])#foreach($i in $r)#set($last = $i)#end$last";
    assert_eq!(render(template, LIMITS).unwrap().0, "-2147482649");
    assert_eq!(kind("#set($r = [1..2000000000])$r.add(1)"), ErrorKind::Memory);
    assert_eq!(kind("$x.y#set($r = [1..2000000000])$r"), ErrorKind::Output);
    assert_eq!(kind("#set($r = [1..2000000000])#if($r.contains(0))#end"), ErrorKind::Steps);
}

#[test]
fn a_string_that_doubles_ends_by_its_memory() {
    let double = "#set($s = 'x')#foreach($i in [1..100])#set($s = \"$s$s\")#end";
    assert_eq!(kind(double), ErrorKind::Memory);
    assert_eq!(kind(&double.replace("\"$s$s\"", "$s + $s")), ErrorKind::Memory);
    assert_eq!(kind(&double.replace("\"$s$s\"", "$s.concat($s)")), ErrorKind::Memory);
    assert_eq!(kind(&double.replace("\"$s$s\"", "$s.replace('x', 'xx')")), ErrorKind::Memory);
    let by_pattern = kind(&double.replace("\"$s$s\"", "$s.replaceAll('(x)', '$1$1')"));
    assert!(matches!(by_pattern, ErrorKind::Memory | ErrorKind::Steps));
    assert_eq!(kind("#set($s = 'x')$s.repeat(2147483647)"), ErrorKind::Memory);
}

#[test]
fn a_string_that_grows_gives_its_memory_back() {
    let template = "#set($s = '')#foreach($i in [1..1000])#set($s = \"$s,$i\")#end$s.length()";
    let (out, most) = render(template, LIMITS).unwrap();
    assert_eq!(out, "3893");
    assert!(most < 16 << 10, "{most}");
}

#[test]
fn lists_and_maps_that_grow_end_by_their_memory() {
    let grow = |inside: &str| {
        format!(
            "#set($l = [])#set($m = {{}})#foreach($i in [1..1000])#foreach($j in [1..1000]){inside}#end#end"
        )
    };
    for inside in [
        "#set($x = $l.add($j))",
        "#set($x = $l.addAll([1..1000]))",
        "#set($x = $m.put(\"$i $j\", $j))",
        "#set($x = {'a': [1, 2, 3], 'b': {}})",
        "#set($x = 'a,b,c'.split(','))#set($y = $m.entrySet())#set($l = [$l])",
        "#define($b)x#end",
    ] {
        let template = grow(inside);
        let limits = Limits { steps: 20_000_000, ..LIMITS };
        if let Err(error) = render(&template, limits) {
            assert!(
                matches!(error.kind, ErrorKind::Memory | ErrorKind::Syntax),
                "{inside}: {error}"
            );
        }
    }
    assert_eq!(kind(&grow("#set($x = $l.add($j))")), ErrorKind::Memory);
}

#[test]
fn what_contains_itself_is_not_written_forever() {
    assert_eq!(
        render("#set($l = [1])#set($x = $l.add($l))$l", LIMITS).unwrap().0,
        "[1, (this Collection)]"
    );
    assert_eq!(kind("#set($l = [1])#set($m = {'l': $l})#set($x = $l.add($m))$l"), ErrorKind::Depth);
    let twins = "#set($a = [1])#set($b = [1])#set($x = $a.add($b))#set($x = $b.add($a))";
    assert_eq!(kind(&format!("{twins}#if($a == $b)#end")), ErrorKind::Depth);
    // Each level twice: not deep, but wide.
    let wide = "#set($l = ['x'])#foreach($i in [1..40])#set($l = [$l, $l])#end";
    assert_eq!(kind(&format!("{wide}$l")), ErrorKind::Output);
    assert_eq!(
        kind(&format!(
            "{wide}#set($k = $l)#set($m = ['x'])#foreach($i in [1..40])#set($m = [$m, $m])#end#if($m == $k)#end"
        )),
        ErrorKind::Steps
    );
    // Far deeper than the stack: dropped without recursion.
    let deep = "#set($l = [])#foreach($i in [1..1000])#foreach($j in [1..5])#set($l = [$l])#end#end$l.size()";
    assert_eq!(render(deep, LIMITS).unwrap().0, "1");
}

#[test]
fn macros_and_blocks_that_call_themselves_end() {
    assert_eq!(kind("#macro(m)#m()#end#m()"), ErrorKind::Depth);
    assert_eq!(kind("#macro(a)#b()#end#macro(b)#a()#end#a()"), ErrorKind::Depth);
    assert_eq!(kind("#macro(m $x)#m($x.y)#end#m($a.b)"), ErrorKind::Depth);
    assert_eq!(kind("#macro(m)#@m()$bodyContent#end#end#@m()x#end"), ErrorKind::Depth);
    assert_eq!(render("#define($a)[$a]#end$a", LIMITS).unwrap().0, "[[$a]]");
    assert_eq!(render("#define($a)[$b]#end#define($b)<$a>#end$a", LIMITS).unwrap().0, "[<[<$a>]>]");
    assert_eq!(
        render("#define($a)$a.toString()#end$a.toString()", LIMITS).unwrap().0,
        "$a.toString()"
    );
}

#[test]
fn what_is_nested_too_deeply_is_refused() {
    for (open, within, close) in [
        ("#if(true)", "x", "#end"),
        ("#foreach($i in [1])", "x", "#end"),
        ("#define($a)", "x", "#end"),
        ("#@m()", "x", "#end"),
        ("#literal()", "x", "#end"),
    ] {
        assert!(render(&nested(open, within, close, 20), LIMITS).is_ok(), "{open}");
        assert_eq!(kind(&nested(open, within, close, 10_000)), ErrorKind::TooLarge, "{open}");
    }
    for (open, within, close) in [
        ("(", "1", ")"),
        ("[", "1", "]"),
        ("{'a':", "1", "}"),
        ("$a[", "1", "]"),
        ("$a.b(", "1", ")"),
        ("\"$a.b(", "1", ")\""),
        ("!(", "true", ")"),
    ] {
        let template = |times| format!("#set($x = {})", nested(open, within, close, times));
        if !open.starts_with('"') {
            assert!(render(&template(20), LIMITS).is_ok(), "{open}");
        }
        assert!(
            matches!(kind(&template(10_000)), ErrorKind::TooLarge | ErrorKind::Syntax),
            "{open}"
        );
    }
    let not = format!("#if({}true)x#end", "!".repeat(100_001));
    assert_eq!(render(&not, LIMITS).unwrap().0, "");
    let long = format!("#set($x = {}1)$x", "1 + ".repeat(10_000));
    assert_eq!(render(&long, LIMITS).unwrap().0, "10001");
}

#[test]
fn a_string_in_a_string_in_a_string_is_refused_in_time() {
    let mut template = "$a".to_owned();
    for _ in 0..12 {
        template = format!("#set($x = \"{}\")", template.replace('"', "\"\""));
    }
    let began = std::time::Instant::now();
    let _ = render(&template, LIMITS);
    assert!(began.elapsed().as_secs() < 2);
}

#[test]
fn a_template_that_is_too_long_is_refused() {
    let most = Options::VELOCITY.template_bytes_max;
    assert!(render(&"x".repeat(most), Limits { output_bytes: most, ..LIMITS }).is_ok());
    assert_eq!(kind(&"x".repeat(most + 1)), ErrorKind::TooLarge);
    assert_eq!(kind(&"x".repeat(10 << 20)), ErrorKind::TooLarge);
}

#[test]
fn a_long_template_of_anything_is_parsed_in_time() {
    let most = Options::VELOCITY.template_bytes_max;
    for part in [
        "$",
        "#",
        "\\",
        "\\\\#if",
        "$a",
        "$a.b.c",
        "${",
        "#a ",
        "#set",
        "  #set ",
        "#*",
        "\"",
        "#set($a=1)",
        "$!",
        "#a(",
        "#a  \n",
        "'",
        "#[[",
        "]]#",
        "$a[",
        "#if(",
        "#@a()",
        "#macro(m)#end",
        "{",
        "#define($a)#end",
        "##\n",
        "\"\"",
        "#set($x=\"$a\")",
        "#set($x='a'.split('b'))",
        "$a.split('b')",
    ] {
        let template = part.repeat(most / part.len());
        let began = std::time::Instant::now();
        let _ = Program::parse(&template, Options::VELOCITY);
        let _ = Program::parse(&template, Options::AWS);
        assert!(began.elapsed().as_secs() < 5, "{part:?} takes {:?}", began.elapsed());
    }
}

#[test]
fn regular_expressions_pay_before_they_run() {
    let with = |pattern: &str| {
        format!("#set($s = 'a')#set($t = $s.repeat(100000))$t.matches('{pattern}')")
    };
    assert_eq!(render(&with("(a+)+"), LIMITS).unwrap().0, "true");
    assert_eq!(kind(&with("(a?){200}b")), ErrorKind::Steps);
    for refused in [
        "(((((a{100}){100}){100}){100}){100})",
        "(?=a)",
        "(a)\\\\1",
        "(?<!a)b",
        "a++",
        "(",
        "[",
        "*",
        "\\\\",
        "\\\\p{L}",
        "a{2",
        "[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[a",
    ] {
        let template = format!("#set($s = 'a')$s.matches('{}')", refused.replace("\\\\", "\\"));
        assert_eq!(kind(&template), ErrorKind::Call, "{refused}");
    }
    let long = format!("#set($s = 'a')$s.matches('{}')", "a".repeat(2000));
    assert_eq!(kind(&long), ErrorKind::Call);
}

#[test]
fn a_host_may_refuse_the_round_after_the_last() {
    let template = "#foreach($i in [1..1001])#set($n = $i)#end$n";
    assert_eq!(render(template, LIMITS).unwrap().0, "1000");
    let error = render(template, Limits { excess: Excess::Fail, ..LIMITS }).unwrap_err();
    assert_eq!((error.kind, error.line, error.column), (ErrorKind::Iterations, 1, 1));
}

#[test]
fn output_that_is_too_long_ends_the_rendering() {
    let mut template = String::new();
    write!(template, "#foreach($i in [1..1000]){}#end", "x".repeat(100)).unwrap();
    assert_eq!(kind(&template), ErrorKind::Output);
}

#[test]
fn a_document_is_read_where_it_lies_and_copied_where_it_is_changed() {
    let body: Value = json!({"a": {"b": [1, {"c": "x"}]}, "s": "text"});
    let context = Map::from_iter([("body".to_owned(), body.clone())]);
    let render = |template: &str| {
        let program = Program::parse(template, Options::AWS).unwrap();
        let mut out = String::new();
        let done = Render::new(&program, &context, LIMITS).run(&mut out, u64::MAX);
        assert_eq!(done, Ok(Progress::Done));
        out
    };
    assert_eq!(render("$body"), r#"{a={b=[1,{"c":"x"}]}, s=text}"#);
    assert_eq!(
        render("#set($body.a.b[1].c = 'y')#set($body.n = $body.a.b.add(2))$body.a.b $body.n"),
        r#"[1,{"c":"y"},2] true"#
    );
    assert_eq!(render("#set($l = $body.a.b)#set($x = $body.a.b.add(2))$l.size()"), "3");
    assert_eq!(context["body"], body);
}
