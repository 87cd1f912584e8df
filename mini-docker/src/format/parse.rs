//! From tokens to a tree.

use super::Mistake;
use super::functions;
use super::lex::{Kind, Token};
use super::tree::{Base, Command, Name, Node, Operand, Pipeline};

/// How deep blocks and parentheses may nest.
const MAX_DEPTH: usize = 100;

/// Reads a whole template.
pub(super) fn parse(tokens: &[Token]) -> Result<Vec<Node>, Mistake> {
    let mut parser =
        Parser { tokens, next: 0, variables: vec!["$".to_owned()], depth: 0, loops: 0 };
    let (nodes, end) = parser.block()?;
    match end {
        End::Template => Ok(nodes),
        End::Closed(at) => Err(Mistake::new(at, "unexpected {{end}}")),
        End::Else(at) => Err(Mistake::new(at, "unexpected {{else}}")),
    }
}

/// What ended a block; the parser stands after the word.
enum End {
    Template,
    Closed(usize),
    Else(usize),
}

struct Parser<'t> {
    tokens: &'t [Token],
    next: usize,
    /// Variables in scope, innermost last.
    variables: Vec<String>,
    depth: usize,
    loops: usize,
}

impl<'t> Parser<'t> {
    fn peek(&self) -> &'t Token {
        // The last token is the end, which is never taken.
        &self.tokens[self.next.min(self.tokens.len() - 1)]
    }

    fn take(&mut self) -> &'t Token {
        let token = self.peek();
        self.next += 1;
        token
    }

    fn is_sign(&self, sign: &str) -> bool {
        matches!(&self.peek().kind, Kind::Sign(found) if *found == sign)
    }

    fn deeper(&mut self, at: usize) -> Result<(), Mistake> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            let message = format!("more than {MAX_DEPTH} blocks or parentheses in each other");
            return Err(Mistake::new(at, message));
        }
        Ok(())
    }

    fn block(&mut self) -> Result<(Vec<Node>, End), Mistake> {
        self.deeper(self.peek().at)?;
        let mut nodes = Vec::new();
        let end = loop {
            let token = self.take();
            match &token.kind {
                Kind::End => break End::Template,
                Kind::Text(text) => nodes.push(Node::Text(text.clone())),
                _ => {
                    let word = match &self.peek().kind {
                        Kind::Word(word) => word.as_str(),
                        _ => "",
                    };
                    let at = self.peek().at;
                    match word {
                        "end" => {
                            self.keyword_alone("end")?;
                            break End::Closed(at);
                        }
                        "else" => {
                            self.next += 1;
                            break End::Else(at);
                        }
                        _ => nodes.push(self.action(word, at)?),
                    }
                }
            }
        };
        self.depth -= 1;
        Ok((nodes, end))
    }

    fn action(&mut self, word: &str, at: usize) -> Result<Node, Mistake> {
        match word {
            "if" | "with" | "range" => {
                self.next += 1;
                self.control(word)
            }
            "break" | "continue" => {
                self.keyword_alone(word)?;
                if self.loops == 0 {
                    return Err(Mistake::new(at, format!("{{{{{word}}}}} outside {{{{range}}}}")));
                }
                Ok(if word == "break" { Node::Break } else { Node::Continue })
            }
            "define" | "template" | "block" => Err(Mistake::new(
                at,
                format!("{{{{{word}}}}} is not supported: a format has no further templates"),
            )),
            _ => {
                let pipeline = self.pipeline("command", false)?;
                self.close("command")?;
                Ok(Node::Print(pipeline))
            }
        }
    }

    fn keyword_alone(&mut self, word: &str) -> Result<(), Mistake> {
        self.next += 1;
        self.close(&format!("{{{{{word}}}}}"))
    }

    fn close(&mut self, context: &str) -> Result<(), Mistake> {
        let token = self.take();
        if token.kind == Kind::Close { Ok(()) } else { Err(unexpected(token, context)) }
    }

    /// After `if`, `with` or `range`, up to its `end`.
    fn control(&mut self, word: &str) -> Result<Node, Mistake> {
        let scope = self.variables.len();
        let pipeline = self.pipeline(word, word == "range")?;
        self.close(word)?;
        self.loops += usize::from(word == "range");
        let (body, mut end) = self.block()?;
        self.loops -= usize::from(word == "range");
        let mut otherwise = Vec::new();
        if let End::Else(at) = end {
            match &self.peek().kind {
                // `{{else if}}` is an `if` of its own that shares the end.
                Kind::Word(next) if next == word && word != "range" => {
                    self.deeper(at)?;
                    self.next += 1;
                    otherwise.push(self.control(word)?);
                    self.depth -= 1;
                    self.variables.truncate(scope);
                    return Ok(node(word, pipeline, body, otherwise));
                }
                _ => {
                    self.close("{{else}}")?;
                    (otherwise, end) = self.block()?;
                }
            }
        }
        self.variables.truncate(scope);
        match end {
            End::Closed(_) => Ok(node(word, pipeline, body, otherwise)),
            End::Else(at) => Err(Mistake::new(at, "expected end; found {{else}}")),
            End::Template => Err(Mistake::new(self.peek().at, "unexpected EOF")),
        }
    }

    fn pipeline(&mut self, context: &str, in_range: bool) -> Result<Pipeline, Mistake> {
        let (variables, declares) = self.declaration(in_range)?;
        let mut commands = Vec::new();
        loop {
            let at = self.peek().at;
            let command = self.command()?;
            if command.operands.is_empty() {
                let message = if commands.is_empty() {
                    format!("missing value for {context}")
                } else {
                    "missing value for command".to_owned()
                };
                return Err(match &self.peek().kind {
                    Kind::Close => Mistake::new(at, message),
                    Kind::Sign(")") => Mistake::new(at, message),
                    Kind::Sign("|") if !commands.is_empty() => Mistake::new(at, message),
                    _ => unexpected(self.peek(), context),
                });
            }
            if let [Operand { base: Base::Nil, at, .. }] = command.operands.as_slice() {
                return Err(Mistake::new(*at, "nil is not a command"));
            }
            if !commands.is_empty() && !is_function(&command) {
                let message =
                    format!("non executable command in pipeline stage {}", commands.len() + 1);
                return Err(Mistake::new(at, message));
            }
            commands.push(command);
            if !self.is_sign("|") {
                break;
            }
            self.next += 1;
        }
        if declares {
            self.variables.extend(variables.iter().cloned());
        }
        Ok(Pipeline { variables, declares, commands })
    }

    /// `$x :=`, `$x =`, or in a range `$i, $e :=`.
    fn declaration(&mut self, in_range: bool) -> Result<(Vec<String>, bool), Mistake> {
        let start = self.next;
        let mut names = Vec::new();
        while let Kind::Variable(name) = &self.peek().kind {
            names.push(name.clone());
            self.next += 1;
            if !self.is_sign(",") {
                break;
            }
            let comma = self.take().at;
            if names.len() > usize::from(in_range) {
                let context = if in_range { "range" } else { "command" };
                return Err(Mistake::new(comma, format!("too many declarations in {context}")));
            }
            if !matches!(self.peek().kind, Kind::Variable(_)) {
                return Err(Mistake::new(comma, "range can only initialize variables"));
            }
        }
        let declares = self.is_sign(":=");
        if names.is_empty() || !(declares || self.is_sign("=")) {
            if names.len() == 2 {
                return Err(unexpected(self.peek(), "range"));
            }
            self.next = start;
            return Ok((Vec::new(), false));
        }
        if !declares {
            for name in &names {
                self.check_variable(name, self.tokens[start].at)?;
            }
        }
        self.next += 1;
        Ok((names, declares))
    }

    fn command(&mut self) -> Result<Command, Mistake> {
        let mut operands: Vec<Operand> = Vec::new();
        while let Some(operand) = self.operand()? {
            if !operands.is_empty() && !self.tokens[self.start_of(&operand)].spaced {
                return Err(unexpected(&self.tokens[self.start_of(&operand)], "operand"));
            }
            operands.push(operand);
        }
        if let [first, _, rest @ ..] = operands.as_slice()
            && !matches!(first.base, Base::Function(_))
            && !(rest.is_empty() && is_label(first))
        {
            return Err(Mistake::new(
                operands[1].at,
                "can't give argument to non-function (a function stands first)",
            ));
        }
        Ok(Command { operands })
    }

    /// Index of the token at which an operand begins.
    fn start_of(&self, operand: &Operand) -> usize {
        self.tokens.partition_point(|token| token.at < operand.at).min(self.tokens.len() - 1)
    }

    fn operand(&mut self) -> Result<Option<Operand>, Mistake> {
        let token = self.peek();
        let mut fields = Vec::new();
        let base = match &token.kind {
            Kind::Dot => Base::Dot,
            Kind::Field(name) => {
                fields.push(Name { at: token.at, text: name.clone() });
                Base::Dot
            }
            Kind::Variable(name) => {
                self.check_variable(name, token.at)?;
                Base::Variable(name.clone())
            }
            Kind::Str(text) => Base::Str(text.clone()),
            Kind::Int(number) => Base::Int(*number),
            Kind::Float(number) => Base::Float(*number),
            Kind::Word(word) => match word.as_str() {
                "nil" => Base::Nil,
                "true" | "false" => Base::Bool(word == "true"),
                name if functions::is_known(name) => Base::Function(name.to_owned()),
                "if" | "else" | "end" | "range" | "with" | "break" | "continue" => {
                    return Err(unexpected(token, "operand"));
                }
                name => {
                    return Err(Mistake::new(token.at, format!("function {name:?} not defined")));
                }
            },
            Kind::Sign("(") => {
                self.next += 1;
                self.deeper(token.at)?;
                let scope = self.variables.len();
                let inner = self.pipeline("parenthesized pipeline", false)?;
                self.variables.truncate(scope);
                if !self.is_sign(")") {
                    return Err(unexpected(self.peek(), "parenthesized pipeline"));
                }
                self.depth -= 1;
                Base::Paren(Box::new(inner))
            }
            _ => return Ok(None),
        };
        self.next += 1;
        while let Token { kind: Kind::Field(name), spaced: false, at } = self.peek() {
            let literal = matches!(
                base,
                Base::Nil | Base::Bool(_) | Base::Int(_) | Base::Float(_) | Base::Str(_)
            );
            if literal || (matches!(base, Base::Dot) && fields.is_empty()) {
                return Err(Mistake::new(*at, format!("unexpected . after term {name:?}")));
            }
            fields.push(Name { at: *at, text: name.clone() });
            self.next += 1;
        }
        Ok(Some(Operand { at: token.at, base, fields }))
    }

    fn check_variable(&self, name: &str, at: usize) -> Result<(), Mistake> {
        if self.variables.iter().any(|known| known == name) {
            return Ok(());
        }
        Err(Mistake::new(at, format!("undefined variable {name:?}")))
    }
}

/// `.Label "key"`: the only field that takes an argument.
fn is_label(operand: &Operand) -> bool {
    operand.fields.last().is_some_and(|name| name.text == "Label")
}

fn is_function(command: &Command) -> bool {
    // A field of a value cannot be called with what comes through the pipe.
    matches!(command.operands.first(), Some(Operand { base: Base::Function(_), .. }))
}

fn node(word: &str, pipeline: Pipeline, body: Vec<Node>, otherwise: Vec<Node>) -> Node {
    match word {
        "if" => Node::If(pipeline, body, otherwise),
        "with" => Node::With(pipeline, body, otherwise),
        _ => Node::Range(pipeline, body, otherwise),
    }
}

fn unexpected(token: &Token, context: &str) -> Mistake {
    let shown = match &token.kind {
        Kind::End => return Mistake::new(token.at, "unexpected EOF"),
        Kind::Text(text) => format!("{text:?}"),
        Kind::Open => "\"{{\"".to_owned(),
        Kind::Close => "\"}}\"".to_owned(),
        Kind::Field(name) => format!("<.{name}>"),
        Kind::Dot => "<.>".to_owned(),
        Kind::Variable(name) | Kind::Word(name) => format!("<{name}>"),
        Kind::Str(text) => format!("{:?}", format!("{text:?}")),
        Kind::Int(number) => format!("\"{number}\""),
        Kind::Float(number) => format!("\"{number}\""),
        Kind::Sign(sign) => format!("{sign:?}"),
    };
    Mistake::new(token.at, format!("unexpected {shown} in {context}"))
}
