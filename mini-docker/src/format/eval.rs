//! Walks the tree of a template with a value.

use std::borrow::Cow;

use serde_json::Value;

use super::access::{get, part};
use super::functions;
use super::tree::{Base, Command, Node, Operand, Pipeline, place, written};
use super::value::{self, Val};

/// Where and why a template cannot be filled in.
#[derive(Debug)]
pub(super) struct Error {
    pub(super) at: usize,
    /// The part of the template, written out.
    pub(super) context: String,
    pub(super) message: String,
    pub(super) hint: Option<String>,
}

/// Fills in a value. For a header, functions that change how a value looks leave it alone.
pub(super) fn evaluate(nodes: &[Node], data: &Value, header: bool) -> Result<String, Error> {
    let root = Val::Json(Cow::Borrowed(data));
    let variables = vec![("$".to_owned(), root.clone())];
    let mut walk = Walk { variables, out: String::new(), header };
    walk.nodes(nodes, &root)?;
    Ok(walk.out)
}

/// How far `{{range 1000}}` may count.
const MAX_COUNT: i64 = 100_000;

#[derive(PartialEq)]
enum Flow {
    On,
    Break,
    Continue,
}

struct Walk<'v> {
    /// Innermost last.
    variables: Vec<(String, Val<'v>)>,
    out: String,
    header: bool,
}

impl<'v> Walk<'v> {
    fn nodes(&mut self, nodes: &[Node], dot: &Val<'v>) -> Result<Flow, Error> {
        for node in nodes {
            let flow = self.node(node, dot)?;
            if flow != Flow::On {
                return Ok(flow);
            }
        }
        Ok(Flow::On)
    }

    fn node(&mut self, node: &Node, dot: &Val<'v>) -> Result<Flow, Error> {
        let scope = self.variables.len();
        let flow = match node {
            Node::Text(text) => {
                self.out.push_str(text);
                return Ok(Flow::On);
            }
            Node::Print(pipeline) => {
                // Its variables live on to the end of the block.
                let value = self.pipeline(pipeline, dot)?;
                if pipeline.variables.is_empty() {
                    self.out.push_str(&value.print());
                }
                return Ok(Flow::On);
            }
            Node::If(pipeline, then, otherwise) => {
                let value = self.pipeline(pipeline, dot)?;
                self.nodes(if value.is_true() { then } else { otherwise }, dot)
            }
            Node::With(pipeline, then, otherwise) => {
                let value = self.pipeline(pipeline, dot)?;
                if value.is_true() { self.nodes(then, &value) } else { self.nodes(otherwise, dot) }
            }
            Node::Range(pipeline, body, otherwise) => self.range(pipeline, body, otherwise, dot),
            Node::Break => Ok(Flow::Break),
            Node::Continue => Ok(Flow::Continue),
        };
        self.variables.truncate(scope);
        flow
    }

    fn range(
        &mut self,
        pipeline: &Pipeline,
        body: &[Node],
        otherwise: &[Node],
        dot: &Val<'v>,
    ) -> Result<Flow, Error> {
        let over = self.commands(pipeline, dot)?;
        let entries: Vec<(Val<'v>, Val<'v>)> = match over {
            Val::Missing | Val::NilList | Val::NilMap => Vec::new(),
            Val::Json(value) if value.is_null() => Vec::new(),
            Val::Json(value) if value.is_array() => {
                let count = value.as_array().map_or(0, Vec::len);
                (0..count).map(|index| (Val::owned(index), part(&value, index))).collect()
            }
            Val::Json(value) if value.is_object() => {
                let keys: Vec<String> = value
                    .as_object()
                    .map(|map| value::sorted(map).map(|(key, _)| key.clone()).collect())
                    .unwrap_or_default();
                let entry = |key: String| (Val::owned(key.clone()), part(&value, key.as_str()));
                keys.into_iter().map(entry).collect()
            }
            // `{{range 3}}` counts from 0.
            Val::Json(value) if value.as_i64().is_some_and(|count| count <= MAX_COUNT) => {
                let count = value.as_i64().unwrap_or_default();
                (0..count).map(|number| (Val::owned(number), Val::owned(number))).collect()
            }
            other => {
                let message = format!("range can't iterate over {}", other.print());
                return Err(mistake(&pipeline.commands[0], message));
            }
        };
        if entries.is_empty() {
            return self.nodes(otherwise, dot);
        }
        for (key, element) in entries {
            let scope = self.variables.len();
            match pipeline.variables.as_slice() {
                [] => {}
                [one] => self.set(one, element.clone(), pipeline.declares),
                [first, second, ..] => {
                    self.set(first, key, pipeline.declares);
                    self.set(second, element.clone(), pipeline.declares);
                }
            }
            let flow = self.nodes(body, &element)?;
            self.variables.truncate(scope);
            if flow == Flow::Break {
                break;
            }
        }
        Ok(Flow::On)
    }

    fn set(&mut self, name: &str, value: Val<'v>, declares: bool) {
        if !declares
            && let Some(known) = self.variables.iter_mut().rev().find(|(known, _)| known == name)
        {
            known.1 = value;
            return;
        }
        self.variables.push((name.to_owned(), value));
    }

    fn pipeline(&mut self, pipeline: &Pipeline, dot: &Val<'v>) -> Result<Val<'v>, Error> {
        let value = self.commands(pipeline, dot)?;
        for name in &pipeline.variables {
            self.set(name, value.clone(), pipeline.declares);
        }
        Ok(value)
    }

    fn commands(&mut self, pipeline: &Pipeline, dot: &Val<'v>) -> Result<Val<'v>, Error> {
        let mut value = None;
        for command in &pipeline.commands {
            value = Some(self.command(command, dot, value)?);
        }
        Ok(value.unwrap_or(Val::Missing))
    }

    fn command(
        &mut self,
        command: &Command,
        dot: &Val<'v>,
        piped: Option<Val<'v>>,
    ) -> Result<Val<'v>, Error> {
        let [first, rest @ ..] = command.operands.as_slice() else { return Ok(Val::Missing) };
        let Base::Function(name) = &first.base else {
            return match rest {
                [] => self.operand(first, dot),
                [key, ..] => self.label(first, key, dot),
            };
        };
        if matches!(name.as_str(), "and" | "or") {
            return self.and_or(name, command, rest, dot, piped);
        }
        let mut arguments = Vec::with_capacity(rest.len() + 1);
        for operand in rest {
            arguments.push(self.operand(operand, dot)?);
        }
        arguments.extend(piped);
        let result = if self.header && functions::is_cosmetic(name) && !arguments.is_empty() {
            Ok(arguments.swap_remove(0))
        } else {
            functions::call(name, arguments)
        };
        let value = result.map_err(|message| mistake(command, message))?;
        self.fields(first, value)
    }

    /// The first argument that decides; those after it are not even looked at.
    fn and_or(
        &mut self,
        name: &str,
        command: &Command,
        operands: &[Operand],
        dot: &Val<'v>,
        piped: Option<Val<'v>>,
    ) -> Result<Val<'v>, Error> {
        let mut last = None;
        for operand in operands {
            let value = self.operand(operand, dot)?;
            if value.is_true() == (name == "or") {
                return Ok(value);
            }
            last = Some(value);
        }
        piped.or(last).ok_or_else(|| {
            let message = format!("wrong number of args for {name}: want at least 1 got 0");
            mistake(command, message)
        })
    }

    fn operand(&mut self, operand: &Operand, dot: &Val<'v>) -> Result<Val<'v>, Error> {
        let value = match &operand.base {
            Base::Dot => dot.clone(),
            Base::Nil => Val::owned(Value::Null),
            Base::Bool(flag) => Val::owned(*flag),
            Base::Int(number) => Val::owned(*number),
            Base::Float(number) => Val::owned(*number),
            Base::Str(text) => Val::owned(text.clone()),
            Base::Variable(name) => {
                let known = self.variables.iter().rev().find(|(known, _)| known == name);
                known.map_or(Val::Missing, |(_, value)| value.clone())
            }
            Base::Function(name) => functions::call(name, Vec::new()).map_err(|message| {
                mistake(&Command { operands: vec![operand.clone()] }, message)
            })?,
            Base::Paren(inner) => {
                let scope = self.variables.len();
                let value = self.pipeline(inner, dot)?;
                self.variables.truncate(scope);
                value
            }
        };
        self.fields(operand, value)
    }

    /// `.A.B` after a value.
    fn fields(&self, operand: &Operand, mut value: Val<'v>) -> Result<Val<'v>, Error> {
        let mut before = None;
        for name in &operand.fields {
            value = match get(value, &name.text, before, self.header) {
                Ok(value) => value,
                Err((message, hint)) => {
                    return Err(Error {
                        at: place(operand),
                        context: written(operand),
                        message,
                        hint,
                    });
                }
            };
            before = Some(name.text.as_str());
        }
        Ok(value)
    }

    /// `.Label "key"`: a label by its key.
    fn label(&mut self, field: &Operand, key: &Operand, dot: &Val<'v>) -> Result<Val<'v>, Error> {
        let mut labels = field.clone();
        if let Some(last) = labels.fields.last_mut() {
            last.text.push('s');
        }
        let key = self.operand(key, dot)?.print();
        if self.header {
            return Ok(Val::owned(key.replace(['-', '_', '.'], " ")));
        }
        Ok(Val::owned(match self.operand(&labels, dot)?.to_json() {
            Value::Object(map) => map.get(&key).map(value::print).unwrap_or_default(),
            // As listings show them: `a=b,c=d`. What has no `=` belongs to the value before it.
            Value::String(text) => {
                let mut found: Option<String> = None;
                for piece in text.split(',') {
                    match (piece.split_once('='), &mut found) {
                        (Some((name, value)), None) if name == key => {
                            found = Some(value.to_owned());
                        }
                        (None, Some(value)) => {
                            value.push(',');
                            value.push_str(piece);
                        }
                        (_, Some(_)) => break,
                        (None, None) if piece == key => break,
                        _ => {}
                    }
                }
                found.unwrap_or_default()
            }
            _ => String::new(),
        }))
    }
}

fn mistake(command: &Command, message: String) -> Error {
    let at = command.operands.first().map_or(0, place);
    // As Go: with a wrong number of arguments it is the function that is wrong.
    let shown = if message.starts_with("wrong number") { 1 } else { command.operands.len() };
    let context = command.operands.iter().take(shown).map(written).collect::<Vec<_>>().join(" ");
    Error { at, context, message, hint: None }
}
