//! The derives of the Hulse web framework.
