//! GraphQL tokens to definitions.
//!
//! A recursive descent over the whole language, October 2021 plus `@oneOf` and directives on directives' arguments.
//! Values, types and selections nest at most [`MAX_DEPTH`] levels, so that no document can exhaust the stack. Schemas
//! need not be whole: no root type is asked for, and names need not be defined.

use super::{
    ast::{
        Definition, Directive, DirectiveDefinition, EnumValue, FieldDefinition, Fragment, InputValue,
        Operation, Selection, TypeDefinition, TypeKind, TypeRef, Value, Wrapper, marks,
    },
    lexer::{LexError, Lexer, Token},
};

/// Real operations nest below 20 levels; half of this fits the smallest stack of a thread many times over.
const MAX_DEPTH: usize = 100;

type Parsed<T> = Result<T, LexError>;

/// Parses a document of any definitions.
pub(super) fn parse(text: &str) -> Parsed<Vec<Definition>> {
    let mut parser = Parser::new(text)?;
    let mut definitions = Vec::new();
    while parser.token != Token::End {
        definitions.push(parser.definition()?);
    }
    Ok(definitions)
}

/// Parses a value by itself, as answers to introspection have it.
pub(super) fn value(text: &str) -> Parsed<Value> {
    let mut parser = Parser::new(text)?;
    let value = parser.value()?;
    if parser.token == Token::End { Ok(value) } else { parser.unexpected("the end of the value") }
}

struct Parser<'a> {
    lexer: Lexer<'a>,
    token: Token<'a>,
    line: u32,
    depth: usize,
}

impl<'a> Parser<'a> {
    fn new(text: &'a str) -> Parsed<Self> {
        let mut lexer = Lexer::new(text);
        let (token, line) = lexer.next()?;
        Ok(Self { lexer, token, line, depth: 0 })
    }

    fn advance(&mut self) -> Parsed<Token<'a>> {
        let (token, line) = self.lexer.next()?;
        self.line = line;
        Ok(std::mem::replace(&mut self.token, token))
    }

    fn skip(&mut self, punctuator: &str) -> Parsed<bool> {
        let found = self.token == Token::Punctuator(punctuator);
        if found {
            self.advance()?;
        }
        Ok(found)
    }

    fn expect(&mut self, punctuator: &str) -> Parsed<()> {
        if self.skip(punctuator)? { Ok(()) } else { self.unexpected(&format!("`{punctuator}`")) }
    }

    fn keyword(&mut self, word: &str) -> Parsed<bool> {
        let found = self.token == Token::Name(word);
        if found {
            self.advance()?;
        }
        Ok(found)
    }

    fn name(&mut self) -> Parsed<String> {
        match self.token {
            Token::Name(name) => {
                self.advance()?;
                Ok(name.to_owned())
            }
            _ => self.unexpected("a name"),
        }
    }

    fn unexpected<T>(&self, wanted: &str) -> Parsed<T> {
        let found = match self.token {
            Token::Punctuator(text) | Token::Name(text) | Token::Integer(text) | Token::Float(text) => {
                format!("`{}`", text.chars().take(40).collect::<String>())
            }
            Token::Text(_) => "a string".to_owned(),
            Token::End => "the end of the file".to_owned(),
        };
        Err(LexError { line: self.line, message: format!("expected {wanted}, found {found}") })
    }

    fn deeper<T>(&mut self, run: impl FnOnce(&mut Self) -> Parsed<T>) -> Parsed<T> {
        if self.depth >= MAX_DEPTH {
            let message = format!("nested more than {MAX_DEPTH} levels deep");
            return Err(LexError { line: self.line, message });
        }
        self.depth += 1;
        let result = run(self);
        self.depth -= 1;
        result
    }

    /// Reads items between brackets, if there are any.
    fn listed<T>(
        &mut self,
        open: &str,
        close: &str,
        item: impl Fn(&mut Self) -> Parsed<T>,
    ) -> Parsed<Vec<T>> {
        let mut items = Vec::new();
        if self.skip(open)? {
            while !self.skip(close)? {
                items.push(item(self)?);
            }
        }
        Ok(items)
    }

    fn definition(&mut self) -> Parsed<Definition> {
        let described = matches!(self.token, Token::Text(_));
        if described {
            self.advance()?;
        }
        let line = self.line;
        let extends = self.keyword("extend")?;
        let Token::Name(word) = self.token else {
            if self.token == Token::Punctuator("{") {
                let selections = self.selections()?;
                let (variables, directives) = (Vec::new(), Vec::new());
                return Ok(Definition::Operation(Operation {
                    kind: "query".into(),
                    variables,
                    directives,
                    selections,
                    line,
                }));
            }
            return self.unexpected("a definition");
        };
        self.advance()?;
        let kind = match word {
            "schema" => return self.schema(),
            "directive" => return self.directive_definition(line),
            "query" | "mutation" | "subscription" => return self.operation(word, line),
            "fragment" => return self.fragment(),
            "scalar" => TypeKind::Scalar,
            "type" => TypeKind::Object,
            "interface" => TypeKind::Interface,
            "union" => TypeKind::Union,
            "enum" => TypeKind::Enum,
            "input" => TypeKind::Input,
            other => {
                let message = format!("`{other}` begins no definition");
                return Err(LexError { line, message });
            }
        };
        self.type_definition(kind, extends, line)
    }

    fn schema(&mut self) -> Parsed<Definition> {
        let directives = self.directives()?;
        let roots = self.listed("{", "}", |it| {
            let line = it.line;
            let kind = it.name()?;
            it.expect(":")?;
            Ok((kind, it.name()?, line))
        })?;
        Ok(Definition::Schema(roots, directives))
    }

    fn type_definition(&mut self, kind: TypeKind, extends: bool, line: u32) -> Parsed<Definition> {
        let name = self.name()?;
        let mut definition = TypeDefinition {
            kind,
            extends,
            name,
            interfaces: Vec::new(),
            directives: Vec::new(),
            fields: Vec::new(),
            inputs: Vec::new(),
            values: Vec::new(),
            members: Vec::new(),
            line,
        };
        if self.keyword("implements")? {
            definition.interfaces = self.separated("&")?;
        }
        definition.directives = self.directives()?;
        match kind {
            TypeKind::Scalar => {}
            TypeKind::Object | TypeKind::Interface => {
                definition.fields = self.listed("{", "}", Self::field_definition)?;
            }
            TypeKind::Union => {
                if self.skip("=")? {
                    definition.members = self.separated("|")?;
                }
            }
            TypeKind::Enum => definition.values = self.listed("{", "}", Self::enum_value)?,
            TypeKind::Input => definition.inputs = self.listed("{", "}", Self::input_value)?,
        }
        Ok(Definition::Type(definition))
    }

    /// Reads names with a separator between them, which may also stand before the first.
    fn separated(&mut self, separator: &str) -> Parsed<Vec<String>> {
        self.skip(separator)?;
        let mut names = vec![self.name()?];
        while self.skip(separator)? {
            names.push(self.name()?);
        }
        Ok(names)
    }

    fn description(&mut self) -> Parsed<()> {
        if matches!(self.token, Token::Text(_)) {
            self.advance()?;
        }
        Ok(())
    }

    fn field_definition(&mut self) -> Parsed<FieldDefinition> {
        self.description()?;
        let line = self.line;
        let name = self.name()?;
        let arguments = self.listed("(", ")", Self::input_value)?;
        self.expect(":")?;
        let of = self.type_ref()?;
        let directives = self.directives()?;
        let (deprecated, marks) = (is_deprecated(&directives), marks(&directives));
        Ok(FieldDefinition { name, arguments, of, deprecated, marks, line })
    }

    fn input_value(&mut self) -> Parsed<InputValue> {
        self.description()?;
        let line = self.line;
        let name = self.name()?;
        self.expect(":")?;
        let of = self.type_ref()?;
        let default = if self.skip("=")? { Some(self.value()?) } else { None };
        let directives = self.directives()?;
        let (deprecated, marks) = (is_deprecated(&directives), marks(&directives));
        Ok(InputValue { name, of, default, deprecated, marks, line })
    }

    fn enum_value(&mut self) -> Parsed<EnumValue> {
        self.description()?;
        let line = self.line;
        let name = self.name()?;
        let directives = self.directives()?;
        let (deprecated, marks) = (is_deprecated(&directives), marks(&directives));
        Ok(EnumValue { name, deprecated, marks, line })
    }

    fn directive_definition(&mut self, line: u32) -> Parsed<Definition> {
        self.expect("@")?;
        let name = self.name()?;
        let arguments = self.listed("(", ")", Self::input_value)?;
        let repeatable = self.keyword("repeatable")?;
        if !self.keyword("on")? {
            return self.unexpected("`on`");
        }
        let locations = self.separated("|")?;
        Ok(Definition::Directive(DirectiveDefinition { name, arguments, repeatable, locations, line }))
    }

    fn type_ref(&mut self) -> Parsed<TypeRef> {
        let mut inner = if self.skip("[")? {
            let mut inner = self.deeper(Self::type_ref)?;
            self.expect("]")?;
            inner.wrappers.insert(0, Wrapper::List);
            inner
        } else {
            TypeRef { name: self.name()?, wrappers: Vec::new() }
        };
        if self.skip("!")? {
            inner.wrappers.insert(0, Wrapper::NonNull);
        }
        Ok(inner)
    }

    fn value(&mut self) -> Parsed<Value> {
        match self.token {
            Token::Punctuator("$") => {
                self.advance()?;
                Ok(Value::Variable(self.name()?))
            }
            Token::Punctuator("[") => Ok(Value::List(self.listed("[", "]", |it| it.deeper(Self::value))?)),
            Token::Punctuator("{") => {
                let mut fields = self.listed("{", "}", Self::argument)?;
                fields.sort_by(|a, b| a.0.cmp(&b.0));
                Ok(Value::Object(fields))
            }
            Token::Integer(text) | Token::Float(text) => {
                self.advance()?;
                Ok(Value::Plain(text.to_owned()))
            }
            Token::Text(text) => {
                self.advance()?;
                Ok(Value::Plain(format!("\"{text}\"")))
            }
            Token::Name(name) => {
                self.advance()?;
                let plain = matches!(name, "true" | "false" | "null");
                Ok(if plain { Value::Plain(name.to_owned()) } else { Value::Enum(name.to_owned()) })
            }
            _ => self.unexpected("a value"),
        }
    }

    fn argument(&mut self) -> Parsed<(String, Value)> {
        let name = self.name()?;
        self.expect(":")?;
        Ok((name, self.deeper(Self::value)?))
    }

    fn directives(&mut self) -> Parsed<Vec<Directive>> {
        let mut directives = Vec::new();
        while self.skip("@")? {
            let name = self.name()?;
            let arguments = self.listed("(", ")", Self::argument)?;
            directives.push(Directive { name, arguments });
        }
        Ok(directives)
    }

    fn operation(&mut self, kind: &str, line: u32) -> Parsed<Definition> {
        if matches!(self.token, Token::Name(_)) {
            self.advance()?;
        }
        let variables = self.listed("(", ")", |it| {
            it.expect("$")?;
            let value = it.input_value()?;
            Ok((value.name, value.of))
        })?;
        let directives = self.directives()?;
        let selections = self.selections()?;
        Ok(Definition::Operation(Operation {
            kind: kind.to_owned(),
            variables,
            directives,
            selections,
            line,
        }))
    }

    fn fragment(&mut self) -> Parsed<Definition> {
        let name = self.name()?;
        if !self.keyword("on")? {
            return self.unexpected("`on`");
        }
        let on = self.name()?;
        let directives = self.directives()?;
        let selections = self.selections()?;
        Ok(Definition::Fragment(Fragment { name, on, directives, selections }))
    }

    fn selections(&mut self) -> Parsed<Vec<Selection>> {
        if self.token != Token::Punctuator("{") {
            return self.unexpected("`{`");
        }
        self.deeper(|it| it.listed("{", "}", Self::selection))
    }

    fn selection(&mut self) -> Parsed<Selection> {
        if self.skip("...")? {
            return self.spread();
        }
        let line = self.line;
        let mut name = self.name()?;
        if self.skip(":")? {
            name = self.name()?;
        }
        let arguments = self.listed("(", ")", Self::argument)?;
        let directives = self.directives()?;
        let nested = self.token == Token::Punctuator("{");
        let selections = if nested { self.selections()? } else { Vec::new() };
        Ok(Selection::Field { name, arguments, directives, selections, line })
    }

    fn spread(&mut self) -> Parsed<Selection> {
        let on = match self.token {
            Token::Name("on") => {
                self.advance()?;
                Some(self.name()?)
            }
            Token::Name(_) => {
                let fragment = self.name()?;
                return Ok(Selection::Spread { fragment, directives: self.directives()? });
            }
            _ => None,
        };
        let directives = self.directives()?;
        Ok(Selection::Inline { on, directives, selections: self.selections()? })
    }
}

fn is_deprecated(directives: &[Directive]) -> bool {
    directives.iter().any(|directive| directive.name == "deprecated")
}
