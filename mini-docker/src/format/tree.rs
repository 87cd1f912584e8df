//! The tree of a template.

use super::value::print_float;

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Node {
    Text(String),
    /// `{{pipeline}}`
    Print(Pipeline),
    If(Pipeline, Vec<Node>, Vec<Node>),
    With(Pipeline, Vec<Node>, Vec<Node>),
    Range(Pipeline, Vec<Node>, Vec<Node>),
    Break,
    Continue,
}

/// `$x := A | B`
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Pipeline {
    /// Two only in `range $i, $e :=`.
    pub(super) variables: Vec<String>,
    /// `:=` and not `=`.
    pub(super) declares: bool,
    /// Never empty.
    pub(super) commands: Vec<Command>,
}

/// An operand, or a function and its arguments.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Command {
    /// Never empty.
    pub(super) operands: Vec<Operand>,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) struct Operand {
    pub(super) at: usize,
    pub(super) base: Base,
    /// `.A.B` after it.
    pub(super) fields: Vec<Name>,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) struct Name {
    pub(super) at: usize,
    pub(super) text: String,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Base {
    Dot,
    Nil,
    Bool(bool),
    Int(i64),
    Float(f64),
    Str(String),
    Variable(String),
    Function(String),
    Paren(Box<Pipeline>),
}

/// Where Go says that an operand stands: with several fields, at the second.
pub(super) fn place(operand: &Operand) -> usize {
    let skip = usize::from(matches!(operand.base, Base::Dot) && operand.fields.len() > 1);
    operand.fields.get(skip).map_or(operand.at, |name| name.at)
}

/// An operand as it stands in the template, more or less.
pub(super) fn written(operand: &Operand) -> String {
    let mut text = match &operand.base {
        Base::Dot if operand.fields.is_empty() => ".".to_owned(),
        Base::Dot => String::new(),
        Base::Nil => "nil".to_owned(),
        Base::Bool(flag) => flag.to_string(),
        Base::Int(number) => number.to_string(),
        Base::Float(number) => print_float(*number),
        Base::Str(text) => format!("{text:?}"),
        Base::Variable(name) | Base::Function(name) => name.clone(),
        Base::Paren(inner) => {
            let commands = inner
                .commands
                .iter()
                .map(|command| command.operands.iter().map(written).collect::<Vec<_>>().join(" "));
            format!("({})", commands.collect::<Vec<_>>().join(" | "))
        }
    };
    for name in &operand.fields {
        text.push('.');
        text.push_str(&name.text);
    }
    text
}
