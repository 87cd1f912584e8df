use super::*;
use crate::expand::Expander;
use crate::parse::parse;

/// With `ARG v=1` and the like known to `FROM`.
fn graph(text: &str) -> Result<Graph, String> {
    let source = Source::new("Dockerfile", text);
    let file = parse(&source).map_err(|error| error.to_string())?.dockerfile;
    let expander = Expander { escape: file.escape };
    let mut values = HashMap::new();
    for argument in &file.arguments {
        let default = argument.default.as_ref().map(|word| word.text.clone());
        values.insert(argument.name.text.clone(), default.unwrap_or_default());
    }
    let mut expand =
        |word: &Word| expander.expand(word, &mut |name: &str| values.get(name).cloned());
    Graph::new(&source, &file, &mut expand).map_err(|error| error.to_string())
}

fn needs(graph: &Graph, stage: usize) -> Vec<usize> {
    graph.stages[stage].dependencies.iter().copied().collect()
}

#[test]
fn who_needs_whom() {
    let text = "
        ARG v=12
        ARG s=build
        FROM debian:$v AS Build
        FROM BUILD AS test
        RUN --mount=from=docs,target=/x --mount=type=cache,from=busybox,target=/y a
        FROM scratch AS docs
        COPY --from=0 a b
        FROM debian AS debian
        COPY --from=${s} a b
        COPY --from=nginx:latest a b
        FROM scratch";
    let graph = graph(text).expect("a graph");
    let bases: Vec<_> = graph.stages.iter().map(|node| node.base.clone()).collect();
    let image = |name: &str| Origin::Image(name.to_owned());
    let expected =
        [image("debian:12"), Origin::Stage(0), Origin::Scratch, image("debian"), Origin::Scratch];
    assert_eq!(bases, expected);
    assert_eq!(needs(&graph, 1), [0, 2]);
    assert_eq!(needs(&graph, 2), [0]);
    assert_eq!(needs(&graph, 3), [0]);
    assert!(graph.stages[1].images.contains("busybox"));
    assert!(graph.stages[3].images.contains("nginx:latest"));

    assert_eq!(graph.needed(None), Ok(vec![4]));
    // Dependencies come first, though they are further below.
    assert_eq!(graph.needed(Some("TEST")), Ok(vec![0, 2, 1]));
    assert_eq!(graph.needed(Some("1")), Ok(vec![0, 2, 1]));
    assert_eq!(graph.needed(Some("debian")), Ok(vec![0, 3]));
    assert_eq!(graph.origin("Docs"), Origin::Stage(2));
    assert_eq!(graph.origin("4"), Origin::Stage(4));
    assert_eq!(graph.origin("5"), image("5"));
}

#[test]
fn the_later_of_two_names_counts() {
    let graph = graph("FROM a AS x\nFROM x\nFROM b AS x\nFROM x\nCOPY --from=x a b").expect("one");
    assert_eq!(graph.stages[1].base, Origin::Stage(0));
    assert_eq!(graph.stages[3].base, Origin::Stage(2));
    assert_eq!(needs(&graph, 3), [2]);
    assert_eq!(graph.target("x"), Ok(2));
}

#[test]
fn triggers_belong_to_those_above() {
    let text = "FROM a AS x\nFROM b AS base\nONBUILD COPY --from=x a b\nFROM base";
    let graph = graph(text).expect("a graph");
    assert_eq!(needs(&graph, 1), [0; 0]);
    assert_eq!(needs(&graph, 2), [0, 1]);
    assert_eq!(graph.needed(Some("base")), Ok(vec![1]));
}

#[test]
fn targets_that_are_none() {
    let two = graph("FROM a AS build\nFROM b AS test").expect("two stages");
    let hint = |graph: &Graph, target: &str| graph.needed(Some(target)).expect_err(target).hint;
    assert_eq!(hint(&two, "biuld"), "did you mean build?");
    assert_eq!(hint(&two, "x"), "stages are build, test");
    assert_eq!(hint(&two, "2"), "stages are build, test");
    let one = graph("FROM a").expect("a stage");
    assert_eq!(hint(&one, "x"), "no stage has a name: FROM image AS name");
}

#[test]
fn as_many_stages_as_one_likes() {
    let mut text = "FROM scratch AS s0\n".to_owned();
    for number in 1..5_000 {
        text += &format!("FROM s{} AS s{number}\n", number - 1);
    }
    let graph = graph(&text).expect("a graph");
    assert_eq!(graph.needed(None), Ok((0..5_000).collect()));
}

#[test]
fn cycles() {
    for (text, part) in [
        ("FROM a AS x\nCOPY --from=x a b", "a stage cannot copy from itself"),
        ("FROM a\nCOPY --from=0 a b", "detected on stage: stage-0"),
        (
            "FROM a AS x\nCOPY --from=z a b\nFROM b AS y\nCOPY --from=x a b\nFROM y AS z",
            "x needs z needs y needs x again",
        ),
        // The cycle is among others, which need it or are needed.
        (
            "FROM a AS w\nCOPY --from=x a b\nFROM a AS x\nCOPY --from=y a b\nCOPY --from=v a b\n\
             FROM b AS y\nCOPY --from=x a b\nFROM c AS v",
            "x needs y needs x again",
        ),
    ] {
        let error = graph(text).expect_err(text);
        assert!(error.contains(part), "{text}\n{error}");
        assert!(error.contains("circular dependency"), "{text}\n{error}");
    }
}
