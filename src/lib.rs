//! his-operator
