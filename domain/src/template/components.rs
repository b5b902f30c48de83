use super::TemplateCategory;
use crate::message::ParameterValue;
use serde_json::Value;
use std::collections::BTreeMap;
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("x")]
pub struct ComponentsError {
    pub field: String,
    pub problem: String,
}
pub struct TemplateComponents;
pub struct Slot;
pub struct SlotKind;
impl TemplateComponents {
    pub fn parse(_: &Value) -> Result<Self, ComponentsError> {
        Ok(Self)
    }
    pub fn check(&self, _: TemplateCategory) -> Result<(), ComponentsError> {
        Ok(())
    }
    pub fn normalise(
        &self,
        g: &BTreeMap<String, ParameterValue>,
    ) -> Result<BTreeMap<String, ParameterValue>, ComponentsError> {
        Ok(g.clone())
    }
    pub fn missing(&self, _: &BTreeMap<String, ParameterValue>) -> Vec<String> {
        vec![]
    }
    pub fn too_long(&self, _: &BTreeMap<String, ParameterValue>) -> Option<String> {
        None
    }
    pub fn preview(&self, _: &BTreeMap<String, ParameterValue>) -> String {
        String::new()
    }
}
pub fn clean_text(s: &str) -> String {
    s.to_owned()
}
